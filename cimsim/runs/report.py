"""Reports on finished runs, on models in memory and on results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from cimsim.analysis.report import page
from cimsim.analysis.report.sections import all_parts
from cimsim.analysis.shown import Shown
from cimsim.analysis.subjects import Subject
from cimsim.errors import CimsimError
from cimsim.files import make_folder, write_text
from cimsim.runs import reproduce, text, trained

Item: TypeAlias = "Subject | Shown"


def report(items: Item | Sequence[Item], out: Path | str = "report.html", title: str = "") -> Path:
    """Write one HTML page with figures, tables and numbers, which needs no network.

    Args:
        items: results of sweeps and studies, and subjects with a folder: for a subject, or a run
            opened by :func:`cimsim.runs.open_run`, all results in its folder are shown.
        out: the page, a name ending in .html.
        title: heading of the page; the names of the subjects and results by default.

    Returns:
        The file.

    Raises:
        CimsimError: if there is nothing to show, or the file cannot be written.
    """
    path, given = Path(out), _listed(items)
    check_name(path)
    wrong = [type(item).__name__ for item in given if not isinstance(item, Subject | Shown)]
    if wrong or not given:
        raise CimsimError(
            f"a report shows results, subjects and opened runs, not {', '.join(wrong) or 'nothing'}"
        )
    subjects = [item for item in given if isinstance(item, Subject)]
    results = [item for item in given if isinstance(item, Shown)]
    written = report_text(subjects, title, results)
    make_folder(path.parent)
    write_text(path, written)
    return path


def _listed(items: Any) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else [items]


def check_name(out: Path) -> None:
    """
    Raises:
        CimsimError: if ``out`` is not the name of a page.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise CimsimError(f"{out}: a report is an HTML page; choose a name ending in .html")


def report_text(subjects: Sequence[Subject], title: str = "", results: Sequence[Shown] = ()) -> str:
    """Return a page of HTML about subjects and results, for finished runs with how they were
    trained and how to reproduce them; see :func:`cimsim.analysis.report.report`."""
    parts = all_parts(before=(trained.PART,), after=(text.PART,), last=(reproduce.PART,))
    return page.report(subjects, title, parts if subjects else (), results)
