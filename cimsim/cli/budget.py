"""``cimsim budget``: what each non-ideality of the device costs a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from cimsim.cli import console
from cimsim.cli.evaluation import (
    KEPT,
    Age,
    AsJson,
    Chips,
    DataDir,
    Device,
    MetricName,
    Noise,
    RunFolder,
    WorkerCount,
    evaluation,
    present,
)
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.analysis.study import Evaluation, Facts
    from cimsim.training.run import Run


def budget(
    run: RunFolder,
    waterfall: Annotated[
        bool,
        typer.Option("--waterfall", help="Switch them on one after another, in physical order."),
    ] = False,
    shapley: Annotated[
        bool,
        typer.Option("--shapley", help="Share out the whole loss, whatever the order."),
    ] = False,
    orders: Annotated[
        int | None,
        typer.Option(
            help="With --shapley: draw so many orders, an even number.",
            show_default="all subsets where affordable",
        ),
    ] = None,
    chips: Chips = 10,
    age: Age = "1d",
    noise: Noise = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Another picture; its SVG stands beside it.",
            show_default="in RUN/budget/",
        ),
    ] = None,
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
) -> None:
    """Evaluate a run with each non-ideality of its device alone, and with all but each.

    Or with one after another (--waterfall), or with all their subsets (--shapley). Every device
    meets the same chips. Converters that change are calibrated anew. Results lie in
    RUN/budget/ and are kept cell by cell: the same command goes on where it was stopped, and with
    more chips adds to what is there.
    """
    if waterfall and shapley:
        raise CimsimError("--waterfall and --shapley are two commands; their cells are shared")
    if orders is not None and not shapley:
        raise CimsimError("--orders are those of --shapley; add it")
    with console.resumable(KEPT):
        from cimsim.analysis.store import BUDGET, sweep_folder
        from cimsim.training.run import Run

        opened = Run.open(run)
        with evaluation(
            "budget",
            chips,
            age=age,
            noise=noise,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            study = (
                _waterfall(opened, wanted)
                if waterfall
                else _shapley(opened, wanted, orders)
                if shapley
                else _each(opened, wanted)
            )
        present(sweep_folder(opened.path, BUDGET), *study, as_json=as_json, also=out)


_Study: TypeAlias = "tuple[str, Any, Figure, Table]"
"""Name, result, picture and table of one kind of budget."""


def _each(run: Run, evaluation: Evaluation) -> _Study:
    from cimsim.analysis.budget import budget, draw_budget
    from cimsim.analysis.store import BUDGET

    found = budget(run, evaluation)
    metric = found.facts.measured
    table = _table(found.facts, "alone", "lost", "all but it", "gained")
    table.add_row("none", found.nothing.shown(metric), "", "", "")
    for share in found.shares:
        cells = (share.alone, share.lost, share.rest, share.gained)
        table.add_row(Text(share.name), *(cell.shown(metric) for cell in cells))
    table.add_row("all", found.everything.shown(metric), "", "", "")
    return BUDGET, found, draw_budget(found), table


def _waterfall(run: Run, evaluation: Evaluation) -> _Study:
    from cimsim.analysis.waterfall import NAME, draw_waterfall, waterfall

    found = waterfall(run, evaluation)
    metric = found.facts.measured
    table = _table(found.facts, "with it", "lost by it")
    table.add_row("none", found.nothing.shown(metric), "")
    for step in found.steps:
        table.add_row(Text(f"+ {step.name}"), step.after.shown(metric), step.lost.shown(metric))
    table.add_row("all", found.steps[-1].after.shown(metric), found.lost.shown(metric))
    return NAME, found, draw_waterfall(found), table


def _shapley(run: Run, evaluation: Evaluation, orders: int | None) -> _Study:
    from cimsim.analysis.shapley import NAME, attribute, draw_attribution

    found = attribute(run, evaluation, orders)
    metric = found.facts.measured
    drawn = found.orders is not None
    table = _table(found.facts, "share of the loss", *(["error by sampling"] if drawn else []))
    for share in found.shares:
        errors = [metric.shown(share.sampling_error)] if drawn else []
        table.add_row(Text(share.name), share.lost.shown(metric), *errors)
    table.add_row("all", found.lost.shown(metric), *([""] if drawn else []))
    return NAME, found, draw_attribution(found), table


def _table(facts: Facts, *headings: str) -> Table:
    from cimsim.units import format_duration

    scaled = "" if facts.noise == 1 else f", {facts.noise:g} times the noise"
    title = f"{facts.measured.heading}, {facts.counted} at {format_duration(facts.age_s)}{scaled}"
    table = Table(title=title, title_justify="left")
    table.add_column("non-ideality", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
