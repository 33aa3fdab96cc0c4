"""The glossary of a report: the terms that occur in it, and the effects of its profiles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

from cimsim.analysis.report.blocks import ReportRun, Section, Terms
from cimsim.profile import effect_titles, non_idealities

_ENTRY = re.compile(r"^(?P<term>\S.*)\n: (?P<meaning>.*)$", re.MULTILINE)
_MARKUP = (
    (re.compile(r"\{func\}`([^`]*)`"), r"\1()"),
    (re.compile(r"\[([^]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"`([^`]*)`"), r"\1"),
)


@cache
def glossary() -> dict[str, str]:
    """All terms of cimsim with their meanings, as plain text."""
    text = (files("cimsim.analysis.report") / "glossary.md").read_text(encoding="utf-8")
    terms = {entry["term"]: entry["meaning"] for entry in _ENTRY.finditer(text)}
    for markup, plain in _MARKUP:
        terms = {term: markup.sub(plain, meaning) for term, meaning in terms.items()}
    return terms


def terms_in(text: str) -> dict[str, str]:
    """The terms that occur in ``text``, in the singular or the plural, with their meanings.

    >>> terms_in("Two DACs, each on a tile")["DAC"]
    'Digital-to-analog converter. It converts a number into the drive of a row.'
    """
    return {
        term: meaning
        for term, meaning in glossary().items()
        if re.search(rf"\b{re.escape(term)}s?\b", text, re.IGNORECASE)
    }


def glossary_section(runs: Sequence[ReportRun], text: str) -> Section | None:
    """Explain the effects of the profiles of ``runs``, and the terms in ``text``; ``None`` if there
    are none."""
    effects = tuple(dict.fromkeys(_effects(runs)))
    terms = tuple((term, "", meaning) for term, meaning in terms_in(text).items())
    return Section((Terms((*effects, *terms)),)) if effects or terms else None


def _effects(runs: Sequence[ReportRun]) -> Iterator[tuple[str, str, str]]:
    titles = effect_titles()
    for run in runs:
        for profile in run.subject.assignment.profiles:
            for name in non_idealities(profile):
                if name in titles:
                    yield titles[name].title, name, titles[name].meaning
