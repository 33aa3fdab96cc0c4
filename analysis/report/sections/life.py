"""How each run's chips grow old, and how many of them do well enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis import chip_yield
from cimsim.analysis.chip_yield import ChipYield, draw_yield, read_yield
from cimsim.analysis.life import WAY, Life, draw_life, read_life
from cimsim.analysis.plot import part_of
from cimsim.analysis.report.blocks import Block, Part, Section, Shown, Words
from cimsim.analysis.report.each import drawn, refuse_old, section_of_each
from cimsim.analysis.store import LIFE, YIELD
from cimsim.units import format_duration

_COMMAND = "cimsim life RUN"
_YIELD = "cimsim yield RUN --above 90"


def section(runs: Sequence[Shown]) -> Section | None:
    """The metric over age, with every way to keep chips up."""
    return section_of_each(runs, f"{LIFE}/life.json", _life)


def section_of_yield(runs: Sequence[Shown]) -> Section | None:
    """The distribution over chips."""
    return section_of_each(runs, f"{YIELD}/yield.json", _yield)


def _life(shown: Shown) -> Iterator[Block]:
    found = read_life(shown.run.path)
    refuse_old(shown, found.facts.checkpoint_sha256, _COMMAND)
    yield from drawn(shown, found, draw_life(found), "Life of a chip", _courses(found), LIFE)


def _courses(found: Life) -> dict[str, list[str]]:
    metric = found.facts.measured
    return {
        part_of(number, "mean", WAY): [
            f"{found.label(course)}\n{format_duration(age_s)}: {point.shown_with_unit(metric)}"
            for age_s, point in zip(found.ages_s, course.points, strict=True)
        ]
        for number, course in enumerate(found.courses)
    }


def _yield(shown: Shown) -> Iterator[Block]:
    found = read_yield(shown.run.path)
    refuse_old(shown, found.facts.checkpoint_sha256, _YIELD)
    yield Words(f"{found.answer}.")
    what = "Distribution of the chips"
    yield from drawn(shown, found, draw_yield(found), what, _shares(found), YIELD)


def _shares(found: ChipYield) -> dict[str, list[str]]:
    metric = found.facts.measured
    return {
        chip_yield.NAME: [
            f"threshold {metric.with_unit(value)}\n{100 * share.share:.1f} % of the chips "
            f"({100 * share.low:.1f} to {100 * share.high:.1f} %)"
            for value, share in found.shares()
        ]
    }


PART = Part("life", "Life of a chip", section, _COMMAND, (f"{LIFE}/*",))
YIELD_PART = Part("yield", "Yield", section_of_yield, _YIELD, (f"{YIELD}/*",))
