"""``cimsim yield``: which share of the chips does well enough."""

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
    Noise,
    On,
    RunFolder,
    Trust,
    WorkerCount,
    evaluation,
    present,
)
from cimsim.errors import CimsimError


def chip_yield(
    run: RunFolder,
    above: Annotated[
        float | None,
        typer.Option(help="A chip passes from this metric on, such as 90 (percent right)."),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(help="A chip passes up to this metric, for those where less is better."),
    ] = None,
    chips: Chips = 100,
    age: Age = "0s",
    on: On = None,
    noise: Noise = 1.0,
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Evaluate a run on many chips: how they are distributed, and which share does well enough,
    with its 95 % interval.

    Results lie in RUN/yield/ and are kept cell by cell: the same command goes on where it was
    stopped, another threshold costs nothing, and more chips add to what is there.
    """
    if (above is None) == (below is None):
        raise CimsimError(
            "which chips pass? Give --above 90 for accuracy, --below for a metric that falls"
        )
    with console.resumable(KEPT):
        from cimsim.analysis import chip_yield as study
        from cimsim.analysis.store import YIELD, sweep_folder
        from cimsim.training.run import Run

        opened = Run.open(run, trust)
        with evaluation(
            "yield",
            chips,
            age=age,
            on=on,
            noise=noise,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            found = study.chip_yield(opened, wanted, above=above, below=below)
        present(
            sweep_folder(opened.path, YIELD),
            study.NAME,
            found,
            study.draw_yield(found),
            as_json=as_json,
            answer=found.answer,
        )
