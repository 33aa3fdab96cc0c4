"""``cimsim report``: everything that is known of some runs, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import Trust
from cimsim.errors import CimsimError


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Page to write.")] = Path(
        "report.html"
    ),
    title: Annotated[
        str, typer.Option(help="Heading of the page.", show_default="the runs' names")
    ] = "",
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
    ] = None,
    trust: Trust = False,
) -> None:
    """Write one HTML page about runs: what was trained, on which device, and all results.

    The page opens from disk and needs no network. It holds every figure, every number as CSV, and
    the commands to get them again. What was not measured yet is named with its command.
    """
    from cimsim.analysis.report import report as page_of
    from cimsim.cli.runs import open_runs
    from cimsim.training.files import make_folder, write_text

    if out.suffix.lower() not in (".html", ".htm"):
        raise CimsimError(f"{out}: a report is a page of HTML; give a name ending in .html")
    opened = open_runs(runs, trust)
    for run in opened:
        run.data_dir = data_dir or run.data_dir
    page = page_of(opened, title)
    make_folder(out.parent)
    write_text(out, page)
    console.say(str(out))
