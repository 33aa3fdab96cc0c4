"""Paths to values of a profile: ``cell.drift.power-law.t0_s``, or with an index as the kind."""

from __future__ import annotations

from typing import Any

KeyPath = tuple[int | str, ...]


def dotted(path: KeyPath) -> str:
    """Return the path in dotted form.

    >>> dotted(("cell", "drift", 0, "t0_s"))
    'cell.drift.0.t0_s'
    """
    return ".".join(map(str, path))


def without_tags(loc: KeyPath, data: Any) -> KeyPath:
    """Return pydantic's location of an error without the kind that follows each section.

    >>> without_tags(("range", "percentile", "percentile"), {"range": {"kind": "percentile"}})
    ('range', 'percentile')
    """
    path: list[int | str] = []
    after_tag = False
    for part in loc:
        is_tag = isinstance(data, dict) and part not in data and data.get("kind") == part
        after_tag = is_tag and not after_tag  # a key may have the name of the kind, and be missing
        if after_tag:
            continue
        path.append(part)
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int):
            data = data[part] if part < len(data) else None  # None for a missing value
    return tuple(path)


def shared_length(one: KeyPath, other: KeyPath) -> int:
    """Return the number of leading parts that two paths share."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
