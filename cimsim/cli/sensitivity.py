"""``cimsim sensitivity``: what each analog layer costs a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import (
    KEPT,
    Age,
    AsJson,
    DataDir,
    Device,
    MetricName,
    Noise,
    RunFolder,
    Samples,
    Trust,
    WorkerCount,
    evaluation,
    present,
)


def sensitivity(
    run: RunFolder,
    chips: Annotated[int, typer.Option(min=1, help="Chips for each assignment.")] = 10,
    age: Age = "0s",
    noise: Noise = 1.0,
    samples: Samples = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Picture to write; its SVG stands beside it.",
            show_default="RUN/sensitivity/sensitivity.png",
        ),
    ] = None,
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Evaluate a run with each of its layers alone on the chip, and with all but each; measure each
    layer's signal-to-noise ratio and what its converters cut off.

    Everything meets the same chips. Results lie in RUN/sensitivity/ and are kept cell by cell: the
    same command goes on where it was stopped, and with more chips adds to what is there.
    """
    with console.resumable(KEPT):
        from cimsim.analysis.sensitivity import draw_sensitivity, measure
        from cimsim.analysis.store import SENSITIVITY, sweep_folder
        from cimsim.analysis.subject import RunSubject
        from cimsim.training.run import Run

        opened = Run.open(run, trust)
        with evaluation(
            "sensitivity",
            chips,
            age=age,
            noise=noise,
            samples=samples,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            subject = RunSubject(opened, wanted)
            found = measure(subject, chips)
        present(
            sweep_folder(opened.path, SENSITIVITY),
            SENSITIVITY,
            found,
            draw_sensitivity(found),
            as_json=as_json,
            also=out,
        )
