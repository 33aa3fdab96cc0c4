"""Provenances of numbers; without pydantic, so that what only lists them imports quickly."""

from __future__ import annotations

from typing import Literal, get_args

Provenance = Literal["measured", "published", "set by hand", "generic"]
"""Origin of a number: a measurement of one's own, a source that the profile names, ``--set``, or a
default or an assumption."""

PROVENANCES: tuple[Provenance, ...] = get_args(Provenance)
"""All of them, the most reliable first."""
