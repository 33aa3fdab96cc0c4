"""``cimsim plot``: the sweeps of several runs in one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cimsim.analysis.shared_options import METRIC_HELP
from cimsim.cli import console
from cimsim.cli.evaluation import OWN_HELP, Store
from cimsim.cli.figures import look_from, look_options


@look_options
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help=f"Folders of runs that were swept, {OWN_HELP}."),
    ],
    over: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS", help="Axis to draw, such as noise; required if there are several."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help=METRIC_HELP,
            show_default="the sweeps' own",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for the figure: .png and .svg, or .pdf.",
            show_default="METRIC_vs_AXIS.png",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="test|held-out",
            help="Samples that the sweeps evaluated: test, or those of --hold-out.",
        ),
    ] = "test",
    store: Store = None,
    **settings: Any,
) -> None:
    """Draw accuracy (perplexity for text) over a swept axis: mean, 95 % band, worst chip.

    Writes a PNG and an SVG file, or the formats of --format, and prints their names.
    """
    from cimsim.analysis.figures.canvas import save
    from cimsim.analysis.figures.curves import draw
    from cimsim.analysis.sweeps.align_runs import align_runs, choose_axis
    from cimsim.cli.runs import open_subjects

    subjects = open_subjects(runs, store=store, split=split)
    folders = [subject.folder for subject in subjects if subject.folder is not None]
    axis = choose_axis(folders, over)
    aligned = align_runs(folders, [subject.fingerprint for subject in subjects], axis, metric)
    look = look_from(settings, out, [curve.label for curve in aligned.curves])
    for text in aligned.remarks:
        console.remark(text)
    figure = draw(aligned.curves, aligned.axis, aligned.metric, look=look)
    for path in save(figure, out or Path(f"{aligned.metric.name}_vs_{axis}.png"), look):
        console.say(str(path))
