"""Paths to values of a profile: ``cell.drift.power-law.t0_s``, or an index for the kind."""

from __future__ import annotations

from typing import Any

KeyPath = tuple[int | str, ...]


def dotted(path: KeyPath) -> str:
    """The path as it is written.

    >>> dotted(("cell", "drift", 0, "t0_s"))
    'cell.drift.0.t0_s'
    """
    return ".".join(map(str, path))


def without_tags(loc: KeyPath, data: Any) -> KeyPath:
    """Pydantic's location of a fault without the kinds that it puts behind list indices."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(data, dict) and part not in data and data.get("kind") == part:
            continue
        path.append(part)
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int):
            data = data[part] if part < len(data) else None  # where a value is missing
    return tuple(path)


def shared_length(one: KeyPath, other: KeyPath) -> int:
    """How many parts two paths have in common from their beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
