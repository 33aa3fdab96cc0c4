"""``cimsim sweep``: evaluate runs over an axis, on the same chips."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from cimsim.cli import console
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.engine import Engine
    from cimsim.analysis.store import Sweep


def sweep(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    over: Annotated[
        str,
        typer.Option(
            metavar="AXIS=LEVELS",
            help="noise=0:2:0.25, time=1s,1h,1d,1y, adc.bits=ideal,8,6,4, dac.bits, or any dotted "
            "key of the profile.",
        ),
    ],
    chips: Annotated[int, typer.Option(min=1, help="Chips per level.")] = 10,
    age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the chips, such as 1h, '1 day' or 1y.")
    ] = "0s",
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Device to evaluate on: a name or a file.",
            show_default="each run's own",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Also write one table of all runs to this file."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")
    ] = "auto",
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, perplexity, bits (per character) or loss.",
            show_default="accuracy, perplexity for text",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; the numbers are the same with any.")
    ] = 1,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Where: on this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster, such as auto.", show_default="this machine alone"),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts, such as one for each task of a job array.",
        ),
    ] = "1/1",
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download data that is missing.")
    ] = False,
) -> None:
    """Evaluate each run at each level on the same chips.

    Results lie in RUN/sweeps/AXIS/ and are kept cell by cell: the same command goes on where it
    was stopped. Ends with a table: mean with its 95 % interval, and the worst chip.
    """
    with console.resumable("every finished cell is kept, the same command goes on from there"):
        from cimsim.analysis.levels import parse_axis
        from cimsim.analysis.names import distinct_names
        from cimsim.analysis.stats import levels_matter
        from cimsim.analysis.store import write_csv
        from cimsim.analysis.sweep import sweep as evaluate
        from cimsim.cli.runs import open_runs
        from cimsim.profile import load_profile
        from cimsim.training.device import working_device
        from cimsim.units import parse_duration

        axis = parse_axis(over)
        if out is not None:
            _check_table(out)
        opened = open_runs(runs)
        names = distinct_names([run.path for run in opened])
        part = _shard(shard)
        with console.progress_bar("{task.completed}/{task.total}", "{task.fields[rate]}") as bar:
            sweeps = evaluate(
                opened,
                axis,
                chips,
                age_s=parse_duration(age),
                on=None if on is None else load_profile(on),
                device=working_device(device),
                data_dir=data_dir,
                download=download,
                metric=metric,
                engine=_engine(engine, workers, address),
                shard=part,
                progress=Watcher(bar, chips, "" if part[1] == 1 else f"part {shard}, "),
            )
        if missing := sum(sweep.missing for sweep in sweeps):
            console.remark(
                f"part {shard} is finished, {missing} cells of the others are not yet; when all "
                "are, the same command without --shard shows the table"
            )
            return
        if out is not None:
            write_csv(out, sweeps, names)
        console.show(_table(sweeps, names))
        for name, sweep in zip(names, sweeps, strict=True):
            if len(axis.values) > 1 and not levels_matter(sweep.cells):
                console.remark(
                    f"{name}: every level of {axis.key} gives the same results; "
                    f"its profile {sweep.plan.profile} does not depend on {axis.key} here"
                )


def _engine(name: str, workers: int, address: str | None) -> Engine:
    from cimsim.analysis.engine import Here, Workers

    if name not in ("local", "ray"):
        raise CimsimError(f"--engine is local or ray, not '{name}'")
    if name == "ray":
        from cimsim.analysis.ray_engine import OnRay

        return OnRay(address)
    if address is not None:
        raise CimsimError("--address is that of a Ray cluster; add --engine ray")
    return Here() if workers == 1 else Workers(workers)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    try:
        return int(part), int(parts)
    except ValueError:
        raise CimsimError(
            f"--shard wants a part and their number, such as 1/4, not '{text}'"
        ) from None


class Watcher:
    """Shows all cells of a sweep, whoever evaluates them: a bar where somebody watches, else a line
    for every so many, and how fast it goes."""

    def __init__(self, bar: Progress, cells_per_line: int, part: str) -> None:
        self._bar, self._cells_per_line, self._part = bar, cells_per_line, part
        self._task = bar.add_task("sweep", total=0, rate="")
        self._found, self._began = 0, time.monotonic()

    def __call__(self, done: int, total: int, doing: str) -> None:
        """``done`` of ``total`` cells are there; the first time, those that were found."""
        if doing == "found":
            self._found, self._began = done, time.monotonic()
        seconds = time.monotonic() - self._began
        rate = (done - self._found) / seconds if seconds > 0 else 0.0
        speed = f"{rate:.2g} cells/s" if done > self._found else ""
        text = f"{self._part}{doing}"
        self._bar.update(self._task, completed=done, total=total, description=text, rate=speed)
        if self._bar.disable and (done % self._cells_per_line == 0 or done == total):
            left = f", {speed}, {_clock((total - done) / rate)} left" if speed else ""
            console.log(f"{text}: {done} of {total} cells{left}")


def _clock(seconds: float) -> str:
    """
    >>> _clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _check_table(path: Path) -> None:
    if path.suffix.lower() != ".csv":
        raise CimsimError(f"{path}: the table is written as CSV; give a name ending in .csv")
    if not path.parent.is_dir():
        raise CimsimError(f"{path}: there is no folder {path.parent} to write it to")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CimsimError(f"{path}: cannot be written; choose another --out")


def _heading(sweeps: Sequence[Sweep]) -> str:
    """All metrics that are in the table."""
    return " / ".join(dict.fromkeys(sweep.plan.measured.heading for sweep in sweeps))


def _table(sweeps: Sequence[Sweep], names: Sequence[str]) -> Table:
    from cimsim.analysis.levels import Axis
    from cimsim.analysis.stats import summaries
    from cimsim.units import format_duration

    plan = sweeps[0].plan
    axis = Axis(plan.axis, plan.levels)
    chips = f"{plan.chips} chips" if plan.chips > 1 else "1 chip"
    aged = f" at {format_duration(plan.age_s)}" if plan.age_s else ""
    table = Table(title=f"{_heading(sweeps)}, {chips}{aged}", title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column(axis.key, justify="right")
    table.add_column("mean ± 95 %", justify="right")
    table.add_column("worst chip", justify="right")
    table.add_column("digital", justify="right")
    for name, sweep in zip(names, sweeps, strict=True):
        metric = sweep.plan.measured
        for i, level in enumerate(summaries(sweep.cells, metric)):
            interval = f" ± {metric.shown(level.half_width)}" if level.chips > 1 else ""
            table.add_row(
                Text("" if i else name),
                Text(axis.format(level.level)),
                f"{metric.shown(level.mean)}{interval}",
                metric.shown(level.worst),
                "" if i else metric.shown(sweep.plan.digital),
            )
        table.add_section()
    return table
