"""Fingerprint of the parts of a profile that affect results; cost is excluded."""

from __future__ import annotations

import re

from cimsim.profile.model import Profile


def fingerprint(profile: Profile) -> str:
    """Return ``profile`` as JSON without its cost, cost overrides, and works cited only there.

    Two profiles with the same fingerprint give the same results, so results of one are
    valid for the other.
    valid for the other.

    >>> from cimsim.profile import load_profile
    >>> fingerprint(load_profile("ideal", ["cost.node_nm=7"])) == fingerprint(load_profile("ideal"))
    True
    """
    if profile.cost is None:
        return profile.model_dump_json(exclude={"cost"})
    costs = profile.cost.model_dump_json()
    rest = profile.model_dump_json(exclude={"cost", "sources"})
    cited = {
        key: text
        for key, text in profile.sources.items()
        if not _names(costs, key) or _names(rest, key)
    }
    overrides = tuple(text for text in profile.overrides if not re.match(r"cost\b", text))
    plain = profile.model_copy(update={"sources": cited, "overrides": overrides})
    return plain.model_dump_json(exclude={"cost"})


def _names(text: str, key: str) -> bool:
    return re.search(rf"\b{re.escape(key)}\b", text) is not None
