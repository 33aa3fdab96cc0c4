"""``cimsim compare``: several ways to train, with the same budget, in one figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cimsim.analysis.figures.look import Look
from cimsim.analysis.shared_options import METRIC_HELP
from cimsim.analysis.sheet import Column, Sheet
from cimsim.cli import console
from cimsim.cli.evaluation import Wide
from cimsim.cli.figures import look_from, look_options
from cimsim.cli.options import options_of
from cimsim.errors import CimsimError
from cimsim.training.config import WITHOUT_OPTION, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cimsim.analysis.sweeps.axis import Axis, Level
    from cimsim.analysis.sweeps.stats import Summary
    from cimsim.runs.compare import Outcome
    from cimsim.training.data import Split


@options_of(
    TrainConfig,
    flags={"overrides": "--set"},
    without=("method", "recipe", "seed", *WITHOUT_OPTION),
    defaults={"device": "auto"},
)
@look_options
def compare(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of all runs and results.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="Methods and recipes; A+key=value changes settings, such as "
            "noise-aware+rule=output-ste.",
        ),
    ] = "",
    arms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="File with further arms of the comparison: names and their settings.",
        ),
    ] = None,
    over: Annotated[
        str,
        typer.Option(metavar="AXIS=LEVELS", help="Axis of the evaluation, as for `cimsim sweep`."),
    ] = "noise=0:4:1",
    chips: Annotated[int, typer.Option(min=1, help="Number of chips per level.")] = 10,
    chip_age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the chips in the evaluation.")
    ] = "0s",
    chip_profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Profile of the chips in the evaluation.",
            show_default="the value of --profile",
        ),
    ] = None,
    old_on: Annotated[str | None, typer.Option("--on", hidden=True)] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help=METRIC_HELP,
            show_default="accuracy, perplexity for text, rmse for numbers",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="test|held-out",
            help="Samples to evaluate on: test, or those of --hold-out, on other chips.",
        ),
    ] = "test",
    seeds: Annotated[str, typer.Option(metavar="N,N,…", help="Training seeds.")] = "0",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Import models and data that --arms or a teacher's run names if they are "
            "functions from outside cimsim. This runs their code.",
        ),
    ] = False,
    wide: Wide = False,
    **settings: object,
) -> None:
    """Train several methods with the same settings and evaluate them on the same chips.

    All options of `cimsim train` are accepted, too, and apply to every training. Finished parts are
    kept: run the same command again to resume, and with more methods or seeds to add to them.
    """
    with console.resumable("finished parts are kept, run the same command again to resume"):
        from cimsim.analysis.figures.canvas import save, with_usual_formats
        from cimsim.analysis.figures.curves import draw
        from cimsim.analysis.sweeps.axis import parse_axis
        from cimsim.analysis.sweeps.store import write_csv
        from cimsim.cli.watcher import Watching
        from cimsim.files import write_text
        from cimsim.profile import load_profile
        from cimsim.runs.compare import compare as run_all
        from cimsim.runs.compare import markdown, named_arms, read_arms
        from cimsim.torch_device import working_device
        from cimsim.units import parse_duration

        if settings.get("profile") is None:
            raise CimsimError(
                "no profile: add --profile NAME or --profile FILE; `cimsim profiles` lists names"
            )
        chip_profile = chip_profile or old_on
        common = {
            name: value
            for name, value in settings.items()
            if value not in (None, []) and name not in Look.model_fields
        }
        common["device"] = working_device(str(common.get("device", "auto")))
        chosen = named_arms(methods) if methods or arms is None else []
        model, data = (str(common.get(part)) for part in ("model", "data"))
        chosen += read_arms(arms, trust, model, data) if arms is not None else []
        axis = parse_axis(over)
        look = look_from(settings, runs=[arm.name for arm in chosen])
        with Watching() as watching:
            outcomes = run_all(
                chosen,
                common,
                axis,
                out=out,
                chips=chips,
                seeds=_seeds(seeds),
                age_s=parse_duration(chip_age),
                on=None if chip_profile is None else load_profile(chip_profile),
                metric=metric,
                trust=trust,
                split=cast("Split", split),
                watch=watching.training,
                note=console.remark,
                progress=watching.trial,
            )
        sweeps = [sweep for outcome in outcomes for sweep in outcome.sweeps]
        names = [f"{o.arm.name}, seed {r.config.seed}" for o in outcomes for r in o.runs]
        write_csv(out / "comparison.csv", sweeps, names)
        write_text(out / "comparison.md", "\n".join(markdown(outcomes, axis)) + "\n")
        figure = draw([o.curve for o in outcomes], axis, outcomes[0].metric, look=look)
        files = save(figure, out / "comparison.png", with_usual_formats(look))
        console.show_sheet(_sheet(outcomes, axis), wide)
        for path in (*files, out / "comparison.csv", out / "comparison.md"):
            console.say(str(path))


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise CimsimError(f"--seeds must be whole numbers, such as 0,1,2, not '{text}'") from None


def _sheet(outcomes: list[Outcome], axis: Axis) -> Sheet:
    from cimsim.analysis.sweeps.stats import means

    runs, chips = len(outcomes[0].runs), outcomes[0].points[0].chips
    several = f"{runs} trainings, each on " if runs > 1 else ""
    metric = outcomes[0].metric
    levels = zip(*(outcome.points for outcome in outcomes), strict=True)

    def at_level(level: Level, points: Sequence[Summary]) -> Column:
        return means(axis.named(level), points, metric)

    columns = (
        Column("training", tuple(outcome.arm.name for outcome in outcomes), kind="name"),
        means("digital", (outcome.digital for outcome in outcomes), metric),
        *map(at_level, axis.values, levels),
    )
    interval = "; ± is the 95 % interval of the mean" if chips > 1 else ""
    return Sheet(f"{metric.heading}, {several}{chips // runs} chips{interval}", columns)
