"""``cimsim plot``: several runs in one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console


def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs that were swept.")],
    over: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS", help="Axis to draw, such as noise; needed if there are several."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, perplexity, bits (per character) or loss.",
            show_default="the sweeps' own",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Picture to write; its SVG stands beside it.",
            show_default="METRIC_vs_AXIS.png",
        ),
    ] = None,
) -> None:
    """Draw accuracy (of text, perplexity) over noise, time, bits or any swept axis: mean, 95 %
    band, worst chip.

    Writes a PNG and an SVG and prints their names.
    """
    from cimsim.analysis.collect import choose_axis, collect
    from cimsim.analysis.plot import draw, save
    from cimsim.cli.runs import open_runs

    opened = open_runs(runs)
    folders = [run.path for run in opened]
    axis = choose_axis(folders, over)
    collection = collect(folders, [run.checkpoint_sha256 for run in opened], axis, metric)
    for text in collection.remarks:
        console.remark(text)
    figure = draw(collection.curves, collection.axis, collection.metric)
    for path in save(figure, out or Path(f"{collection.metric.name}_vs_{axis}.png")):
        console.say(str(path))
