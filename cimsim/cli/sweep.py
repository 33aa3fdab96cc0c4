"""``cimsim sweep``: evaluate runs over an axis, on the same chips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cimsim.cli import console
from cimsim.cli.evaluation import (
    KEPT,
    Age,
    Chips,
    DataDir,
    Device,
    Download,
    MetricName,
    On,
    Trust,
    WorkerCount,
    engine_named,
)
from cimsim.cli.options import check_table
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.store import Sweep


def sweep(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    over: Annotated[
        str,
        typer.Option(
            metavar="AXIS=LEVELS",
            help="noise=0:2:0.25, time=1s,1h,1d,1y, adc.bits=ideal,8,6,4, dac.bits, cycle=0,1,2 "
            "(the same chips written again), or any dotted key of the profile.",
        ),
    ],
    chips: Chips = 10,
    age: Age = "0s",
    on: On = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN:DEVICE",
            help="Another device for some layers, such as 'fc2:digital', 'conv*:adc.bits=8' or "
            "'*.mlp.*:profile=NAME'; can be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Also write one table of all runs to this file."),
    ] = None,
    device: Device = "auto",
    metric: MetricName = None,
    workers: WorkerCount = 1,
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
    data_dir: DataDir = None,
    download: Download = False,
    trust: Trust = False,
) -> None:
    """Evaluate each run at each level on the same chips.

    Results lie in RUN/sweeps/AXIS/ and are kept cell by cell: the same command goes on where it
    was stopped. Ends with a table: mean with its 95 % interval, and the worst chip.
    """
    with console.resumable(KEPT):
        from cimsim.analysis.levels import parse_axis
        from cimsim.analysis.names import distinct_names
        from cimsim.analysis.stats import levels_matter
        from cimsim.analysis.store import write_csv
        from cimsim.analysis.sweep import sweep as evaluate
        from cimsim.cli.runs import open_runs
        from cimsim.profile import load_profile
        from cimsim.training.device import working_device
        from cimsim.training.layer_options import parse_layers, with_profiles
        from cimsim.units import parse_duration

        axis = parse_axis(over)
        if out is not None:
            check_table(out)
        opened = open_runs(runs, trust)
        names = distinct_names([run.path for run in opened])
        part = _shard(shard)
        of_parts = "" if part[1] == 1 else f"part {shard}, "
        with console.counted("sweep", every=chips, part=of_parts) as advance:
            sweeps = evaluate(
                opened,
                axis,
                chips,
                age_s=parse_duration(age),
                on=None if on is None else load_profile(on),
                layers=with_profiles(parse_layers(layer or [])),
                device=working_device(device),
                data_dir=data_dir,
                download=download,
                metric=metric,
                engine=engine_named(engine, workers, address),
                shard=part,
                progress=advance,
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


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    try:
        return int(part), int(parts)
    except ValueError:
        raise CimsimError(
            f"--shard wants a part and their number, such as 1/4, not '{text}'"
        ) from None


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
            table.add_row(
                Text("" if i else name),
                Text(axis.format(level.level)),
                level.shown(metric),
                metric.shown(level.worst),
                "" if i else metric.shown(sweep.plan.digital),
            )
        table.add_section()
    return table
