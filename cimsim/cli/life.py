"""``cimsim life``: a run over the age of its chips, and what keeps it up."""

from __future__ import annotations

from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import (
    KEPT,
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


def life(
    run: RunFolder,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="First age.")] = "1s",
    stop: Annotated[str, typer.Option("--to", metavar="TIME", help="Last age.")] = "10y",
    points: Annotated[
        int, typer.Option(min=2, help="Ages, evenly spaced in their logarithm.")
    ] = 10,
    chips: Chips = 10,
    on: On = None,
    noise: Noise = 1.0,
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Evaluate a run while its chips grow old: with every drift compensation and without, and with
    converters and batch statistics measured anew on the aged chip.

    Results lie in RUN/life/ and are kept cell by cell: the same command goes on where it was
    stopped.
    """
    with console.resumable(KEPT):
        from cimsim.analysis import life as study
        from cimsim.analysis.store import LIFE, sweep_folder
        from cimsim.training.run import Run
        from cimsim.units import parse_duration

        opened = Run.open(run, trust)
        ends = (parse_duration(start), parse_duration(stop))
        with evaluation(
            "life",
            chips,
            on=on,
            noise=noise,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            found = study.life(opened, wanted, *ends, points)
        if not study.drifts(wanted.devices(opened)):
            console.remark(
                f"{found.facts.profile} has no drift; only its read noise grows with age"
            )
        present(
            sweep_folder(opened.path, LIFE),
            study.NAME,
            found,
            study.draw_life(found),
            as_json=as_json,
        )
