"""``cimsim report``: all results of some runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import DataDir, RunFolders, Store, Trust


def report(
    runs: RunFolders,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Page to write.")] = Path(
        "report.html"
    ),
    title: Annotated[
        str, typer.Option(help="Heading of the page.", show_default="the runs' names")
    ] = "",
    data_dir: DataDir = None,
    trust: Trust = False,
    store: Store = None,
) -> None:
    """Write one HTML page about runs: training, profile, and all results.

    The page needs no network. It contains every figure, every number as CSV, and the commands that
    compute them again. For results that are missing, it lists the commands.
    """
    from cimsim.cli.runs import open_subjects
    from cimsim.runs.report import check_name
    from cimsim.runs.report import report as write

    check_name(out)
    console.say(str(write(open_subjects(runs, trust, data_dir, store=store), out, title)))
