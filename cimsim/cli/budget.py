"""``cimsim budget``: what each non-ideality of the device costs a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

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
    Trust,
    WorkerCount,
    evaluation,
    present,
)
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.analysis.study import Evaluation, Result
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
    trust: Trust = False,
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

        opened = Run.open(run, trust)
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


_Study: TypeAlias = "tuple[str, Result, Figure]"
"""Name, result and picture of one kind of budget."""


def _each(run: Run, evaluation: Evaluation) -> _Study:
    from cimsim.analysis.budget import budget, draw_budget
    from cimsim.analysis.store import BUDGET

    found = budget(run, evaluation)
    return BUDGET, found, draw_budget(found)


def _waterfall(run: Run, evaluation: Evaluation) -> _Study:
    from cimsim.analysis.waterfall import NAME, draw_waterfall, waterfall

    found = waterfall(run, evaluation)
    return NAME, found, draw_waterfall(found)


def _shapley(run: Run, evaluation: Evaluation, orders: int | None) -> _Study:
    from cimsim.analysis.shapley import NAME, attribute, draw_attribution

    found = attribute(run, evaluation, orders)
    return NAME, found, draw_attribution(found)
