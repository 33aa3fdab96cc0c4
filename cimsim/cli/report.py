"""``cimsim report``: all results of some runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import DataDir, RunFolders, Trust
from cimsim.errors import CimsimError


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
) -> None:
    """Write one HTML page about runs: training, profile, and all results.

    The page needs no network. It contains every figure, every number as CSV, and the commands that
    compute them again. Results that are missing are listed with their commands.
    """
    from cimsim.cli.runs import open_runs
    from cimsim.files import make_folder, write_text
    from cimsim.runs.report import report as page_of

    if out.suffix.lower() not in (".html", ".htm"):
        raise CimsimError(f"{out}: a report is a page of HTML; give a name ending in .html")
    page = page_of(open_runs(runs, trust, data_dir), title)
    make_folder(out.parent)
    write_text(out, page)
    console.say(str(out))
