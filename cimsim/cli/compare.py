"""``cimsim compare``: several ways to train, under one budget, in one figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cimsim.cli import console
from cimsim.cli.options import options_of
from cimsim.cli.watcher import Watcher
from cimsim.errors import CimsimError
from cimsim.training.config import TrainConfig

if TYPE_CHECKING:
    from cimsim.analysis.compare import Outcome
    from cimsim.analysis.levels import Axis
    from cimsim.training.progress import Progress


@options_of(TrainConfig, flags={"overrides": "--set"}, without=("method", "recipe", "seed"))
def compare(
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of all runs and results")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="methods and recipes; A+key=value changes settings, such as noise-aware+rule=C",
        ),
    ] = "",
    arms: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="further ones: a name and its settings each"),
    ] = None,
    over: Annotated[
        str, typer.Option(metavar="AXIS=LEVELS", help="what varies, as in `cimsim sweep`")
    ] = "noise=0:4:1",
    chips: Annotated[int, typer.Option(min=1, help="chips per level")] = 10,
    chip_age: Annotated[
        str, typer.Option(metavar="TIME", help="age of the chips in the evaluation")
    ] = "0s",
    on: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="evaluate on this device", show_default="--profile"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, perplexity, bits (per character) or loss.",
            show_default="accuracy, perplexity for text",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="N,N,…", help="training seeds")] = "0",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="import the models that --arms or a teacher's run names, where those are "
            "functions of somebody's own: their code runs",
        ),
    ] = False,
    **settings: object,
) -> None:
    """Train several methods with the same settings, evaluate them on the same chips, draw one
    figure.

    Further options are those of `cimsim train`, for all of them. What is finished is kept: the same
    command goes on where it was stopped, and with more methods or seeds adds to what is there.
    """
    with console.resumable("every finished part is kept, the same command goes on from there"):
        from cimsim.analysis.compare import compare as run_all
        from cimsim.analysis.compare import markdown, named_arms, read_arms
        from cimsim.analysis.levels import parse_axis
        from cimsim.analysis.plot import draw, save
        from cimsim.analysis.store import write_csv
        from cimsim.profile import load_profile
        from cimsim.training.device import working_device
        from cimsim.training.files import write_text
        from cimsim.units import parse_duration

        if settings.get("profile") is None:
            raise CimsimError(
                "no device: give --profile NAME or FILE; `cimsim profiles` lists names"
            )
        common = {name: value for name, value in settings.items() if value not in (None, [])}
        common["device"] = working_device(str(common.get("device", "auto")))
        wanted = named_arms(methods) if methods or arms is None else []
        named = common.get("model")
        wanted += read_arms(arms, trust, str(named)) if arms is not None else []
        axis = parse_axis(over)
        with Watching() as watching:
            outcomes = run_all(
                wanted,
                common,
                axis,
                out=out,
                chips=chips,
                seeds=_seeds(seeds),
                age_s=parse_duration(chip_age),
                on=None if on is None else load_profile(on),
                metric=metric,
                trust=trust,
                watch=watching.training,
                progress=watching.cell,
            )
        sweeps = [sweep for outcome in outcomes for sweep in outcome.sweeps]
        names = [f"{o.arm.name}, seed {r.config.seed}" for o in outcomes for r in o.runs]
        write_csv(out / "comparison.csv", sweeps, names)
        write_text(out / "comparison.md", "\n".join(markdown(outcomes, axis)) + "\n")
        figure = draw([o.curve for o in outcomes], axis, outcomes[0].metric)
        files = save(figure, out / "comparison.png")
        console.show(_table(outcomes, axis))
        for path in (*files, out / "comparison.csv", out / "comparison.md"):
            console.say(str(path))


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise CimsimError(f"--seeds wants whole numbers, such as 0,1,2, not '{text}'") from None


class Watching:
    """Shows the trainings and evaluations of a comparison, one after the other."""

    def __init__(self) -> None:
        self._watcher: Watcher | None = None

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def training(self, name: str, config: TrainConfig) -> Progress:
        """A new training begins."""
        self._stop()
        console.log(f"{name}:")
        self._watcher = Watcher(config.epochs)
        return self._watcher.__enter__()

    def cell(self, done: int, total: int, doing: str) -> None:
        """A cell of an evaluation is finished."""
        self._stop()
        if done == total or done % 10 == 0:
            console.log(f"{doing}: {done} of {total} cells")

    def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher.__exit__()
            self._watcher = None


def _table(outcomes: list[Outcome], axis: Axis) -> Table:
    runs, chips = len(outcomes[0].runs), outcomes[0].points[0].chips
    several = f"{runs} trainings, each on " if runs > 1 else ""
    metric = outcomes[0].metric
    title = f"{metric.heading}, {several}{chips // runs} chips: mean ± 95 %"
    table = Table(title=title, title_justify="left")
    table.add_column("training", overflow="fold")
    table.add_column("digital", justify="right")
    for level in axis.values:
        table.add_column(f"{axis.key}={axis.format(level)}", justify="right")
    for outcome in outcomes:
        cells = [point.shown(metric) for point in outcome.points]
        table.add_row(Text(outcome.arm.name), metric.shown(outcome.digital), *cells)
    return table
