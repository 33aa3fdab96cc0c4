"""Provenance of a profile's numbers, by their sources."""

from __future__ import annotations

from collections.abc import Iterable

from cimsim.profile.base import BY_HAND, Sourced
from cimsim.provenance import PROVENANCES, Provenance

_MEASURED, _ASSUMED = "measured", "assumption"


def provenance_of(section: Sourced, field: str) -> Provenance:
    """Return the provenance of the number ``field`` of ``section``, by its source.

    A source that begins with "measured" is a measurement of one's own, "assumption" is generic, and
    every other one is a publication or a data sheet. A number without a source is a default of
    ours, and so is one that equals the default in a section with one source for all its numbers.

    >>> from cimsim.profile import load_profile
    >>> cost = load_profile("pcm-ibm-2020").cost
    >>> provenance_of(cost.read, "t_read_ns"), provenance_of(cost.read, "v_read_V")
    ('published', 'generic')
    """
    source = (section.stated_source_of(field) or _ASSUMED).strip().lower()
    if source == BY_HAND:
        return "set by hand"
    if source.startswith(_ASSUMED):
        return "generic"
    return "measured" if source.startswith(_MEASURED) else "published"


def least_reliable(several: Iterable[Provenance]) -> Provenance:
    """Return the provenance of a product of numbers: that of the least reliable one.

    >>> least_reliable(["published", "generic"])
    'generic'
    """
    return max(several, key=PROVENANCES.index)
