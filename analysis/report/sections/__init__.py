"""The sections of a report, in the order in which they stand.

To add one: a file with a function that makes a :class:`Section` of the runs, or ``None`` where they
have no such result, a :class:`Part` around it, and the part's name here.
"""

from cimsim.analysis.report.blocks import Part
from cimsim.analysis.report.sections import (
    budget,
    cost,
    device,
    layers,
    life,
    reproduce,
    results,
    sensitivity,
    sweeps,
    text,
    tolerance,
    trained,
)

_BEFORE = (
    trained.PART,
    device.PART,
    sweeps.PART,
    tolerance.PART,
    tolerance.MAPS,
    budget.PART,
    layers.PART,
    sensitivity.PART,
    sensitivity.ADVICE_PART,
    life.PART,
    life.YIELD_PART,
    cost.PART,
    cost.DESIGNS_PART,
    text.PART,
)
_SHOWN = [pattern for part in _BEFORE for pattern in part.shows]

PARTS: tuple[Part, ...] = (*_BEFORE, results.section_without(_SHOWN), reproduce.PART)
