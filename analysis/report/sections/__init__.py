"""The sections of a report, in their order.

Studies have sections by their descriptors. To add another section, write a file with a function
that makes a :class:`Section` from the runs, or returns ``None`` if they have no such result, and
list its :class:`Part` here.
"""

from cimsim.analysis.report.blocks import Part
from cimsim.analysis.report.sections import layers, profile, results, sweeps
from cimsim.analysis.report.sections.studies import study_parts
from cimsim.analysis.studies import STUDIES

_TRIALS = "search/*/*"  # trainings of a search, whose table is in its folder


def all_parts(
    before: tuple[Part, ...] = (), after: tuple[Part, ...] = (), last: tuple[Part, ...] = ()
) -> tuple[Part, ...]:
    """The parts of a report, with others before and after the results, and behind all files that
    no part shows."""
    own = (profile.PART, layers.PART, sweeps.PART, *study_parts(STUDIES))
    known = (*before, *own, *after)
    patterns = [_TRIALS, *(pattern for part in known for pattern in part.shows)]
    return (*known, results.section_without(patterns), *last)
