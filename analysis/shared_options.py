"""The options that all sweeps and studies share, on the command line and in Python."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from cimsim.analysis.study import option

METRIC_HELP = (
    "Metric to show: accuracy, perplexity, bits (per character), loss, rmse, mae or r2; for "
    "classification of your own data, also balanced_accuracy, f1 and top5."
)


class SharedOptions(BaseModel):
    """The chips that models are evaluated on, and how."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    chips: int = option(10, "Number of chips; every level is evaluated on the same ones.", ge=1)
    age: str = option("0s", "Age of the chips, such as 1h, '1 day' or 1y.", metavar="TIME")
    noise: float = option(1.0, "Factor on every noise of the profile.", ge=0)
    profile: str | None = option(
        None,
        "Profile to evaluate on: a name or a file.",
        metavar="PROFILE",
        default_text="each run's own",
        old_flag="--on",
    )
    samples: int | None = option(None, "Number of test samples to use.", ge=1, default_text="all")
    metric: str | None = option(
        None, METRIC_HELP, default_text="accuracy, perplexity for text, rmse for numbers"
    )
    device: str = option("auto", "Torch device to compute on.", metavar="cpu|cuda|auto")
    workers: int = option(1, "Number of processes; it does not change results.", ge=1)
