"""``cimsim map``: a run over two axes at once."""

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


def heat_map(
    run: RunFolder,
    x: Annotated[
        str, typer.Option(metavar="AXIS=LEVELS", help="From left to right, such as noise=0:3:0.5.")
    ],
    y: Annotated[
        str,
        typer.Option(
            metavar="AXIS=LEVELS", help="From bottom to top, such as adc.bits=ideal,8,6,5,4."
        ),
    ],
    lines: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,…",
            help="Draw lines where the metric is so much, such as 90,92.",
            show_default="1 and 5 points below digital, or 1.1 and 2 times it",
        ),
    ] = None,
    chips: Chips = 10,
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
    """Evaluate a run at every pair of levels of two axes, and draw a heat map with lines of equal
    metric.

    Axes are those of `cimsim sweep`. Results lie in RUN/maps/X-by-Y/ and are kept cell by cell: the
    same command goes on where it was stopped.
    """
    with console.resumable(KEPT):
        from cimsim.analysis.heat_map import NAME, map_folder, metric_map
        from cimsim.analysis.heat_map_plot import draw_map
        from cimsim.analysis.levels import parse_axis
        from cimsim.training.run import Run

        opened = Run.open(run, trust)
        wanted_lines = None if lines is None else _numbers(lines)
        with evaluation(
            "map",
            chips,
            age=age,
            on=on,
            noise=noise,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            found = metric_map(opened, parse_axis(x), parse_axis(y), wanted, wanted_lines)
        for line in found.lines if lines else ():
            if not found.crosses(line.value):
                shown = found.facts.measured.shown(line.value)
                console.remark(f"the whole map is on one side of {shown}; that line is not drawn")
        folder = map_folder(opened.path, found.x, found.y)
        present(folder, NAME, found, draw_map(found), as_json=as_json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise CimsimError(f"--lines wants numbers, such as 90,92, not '{text}'") from None
