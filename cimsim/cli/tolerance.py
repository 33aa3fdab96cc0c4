"""``cimsim tolerance``: how much of something a run stands."""

from __future__ import annotations

from typing import Annotated

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
    On,
    RunFolder,
    Trust,
    WorkerCount,
    evaluation,
    present,
)


def tolerance(
    run: RunFolder,
    over: Annotated[
        str, typer.Option(metavar="AXIS", help="noise, time, adc.bits or any dotted key.")
    ],
    within: Annotated[
        float,
        typer.Option(
            min=0, help="Loss that is tolerated: points of accuracy, percent of perplexity."
        ),
    ] = 1.0,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="LEVEL", show_default="0 for noise, 1s, 2 bits"),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--to", metavar="LEVEL", show_default="4 for noise, 10y, 10 bits"),
    ] = None,
    chips: Chips = 10,
    age: Age = "0s",
    on: On = None,
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Find the largest level (the smallest number of bits) at which the mean over chips stays close
    to the digital model, with its 95 % interval.

    Looks closer and closer where it matters. What it evaluates are cells of `cimsim sweep`, kept in
    RUN/sweeps/AXIS/; the answer lies in RUN/tolerance/.
    """
    with console.resumable(KEPT):
        from cimsim.analysis import tolerance as study
        from cimsim.analysis.tolerance_plot import draw_tolerance
        from cimsim.training.run import Run

        opened = Run.open(run, trust)
        with evaluation(
            "tolerance",
            chips,
            age=age,
            on=on,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            found = study.tolerance(opened, over, within, wanted, start, stop)
        present(
            opened.path / study.FOLDER,
            over,
            found,
            draw_tolerance(found),
            as_json=as_json,
            answer=found.answer,
        )
