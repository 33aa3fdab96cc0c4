"""``cimsim train``: train a model against a device profile."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli import console
from cimsim.cli.options import options_of
from cimsim.errors import CimsimError
from cimsim.training.config import TrainConfig, make_config, read_config

if TYPE_CHECKING:
    from cimsim.training.run import Run


@options_of(TrainConfig, flags={"overrides": "--set"})
def train(
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of the run, made anew")],
    resume: Annotated[
        bool, typer.Option("--resume", help="go on where the run in DIR was stopped")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="download the data set if it is missing")
    ] = False,
    **settings: object,
) -> None:
    """Train a model against a device profile.

    The run's folder holds its settings, its profile, metrics as they come, and the trained model.
    """
    go_on = "add --resume to the same command to go on from the last checkpoint"
    with console.resumable(go_on):
        given = {name: value for name, value in settings.items() if value not in (None, [])}
        config = _config(given, out if resume else None)
        from cimsim.training.data import load_data
        from cimsim.training.fit import fit

        if download:
            load_data(config.data, config.data_dir, download=True)
        with Watcher(config.epochs) as watcher:
            run = fit(config, out, resume=resume, progress=watcher)
        if int(os.environ.get("RANK", "0")) == 0:  # of those that torchrun started, one speaks
            console.say(_result(run))


def _config(given: dict[str, object], resumed: Path | None) -> TrainConfig:
    """The settings given, on top of those of the run to be resumed where there is one."""
    from cimsim.training.device import working_device

    if "device" in given:
        given["device"] = working_device(str(given["device"]))
    stored = resumed / "config.yaml" if resumed else None
    if stored and stored.is_file():
        return make_config(**{**read_config(stored).model_dump(), **given})
    if "profile" not in given:
        raise CimsimError("no device: give --profile NAME or FILE; `cimsim profiles` lists names")
    return make_config(**{"device": working_device("auto"), **given})


def _result(run: Run) -> str:
    token = str(run.result.get("token", ""))
    name, unit = (f"perplexity per {token}", "") if token else ("accuracy", " %")

    def score(where: str) -> str:
        accuracy, loss = (float(run.result[f"{where}_{what}"]) for what in ("accuracy", "loss"))
        return f"{math.exp(min(loss, 700.0)) if token else 100 * accuracy:.2f}{unit}"

    return (
        f"{run.path}: test {name} {score('digital')} digital, "
        f"{score('chip')} on one chip of {run.profile.name}"
    )


class Watcher:
    """Shows a training run: a bar where somebody watches, else a line per epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._bar = console.progress_bar("loss {task.fields[loss]}", "{task.fields[accuracy]}")
        self._task = self._bar.add_task("train", total=None, loss="-", accuracy="")

    def __enter__(self) -> Watcher:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def start(self, total: int, done: int) -> None:
        """The run has ``total`` steps, ``done`` of which were made before."""
        self._bar.update(self._task, total=total, completed=done)

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """``count`` more steps, and the epoch's means so far."""
        self._bar.update(
            self._task,
            advance=count,
            description=f"epoch {epoch + 1}/{self._epochs}",
            loss=f"{loss:.4f}",
            accuracy=f"accuracy {100 * accuracy:.1f} %",
        )

    def epoch(self, metrics: dict[str, Any]) -> None:
        """An epoch has ended."""
        if self._bar.disable:
            loss, accuracy = metrics["train_loss"], 100 * metrics["train_accuracy"]
            done = f"epoch {metrics['epoch']}/{self._epochs}"
            console.log(f"{done}: loss {loss:.4f}, accuracy {accuracy:.2f} %")

    def note(self, text: str) -> None:
        """Something else worth a line."""
        console.remark(text)
