"""A report on finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.analysis.report import page
from cimsim.analysis.report.sections import all_parts
from cimsim.runs import reproduce, text, trained
from cimsim.runs.subject import RunSubject


def report(subjects: Sequence[RunSubject], title: str = "") -> str:
    """Return a page of HTML about finished runs, with how they were trained and how to reproduce
    them; see :func:`cimsim.analysis.report.report`."""
    parts = all_parts(before=(trained.PART,), after=(text.PART,), last=(reproduce.PART,))
    return page.report(subjects, title, parts)
