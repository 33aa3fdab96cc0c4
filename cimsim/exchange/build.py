"""From the sections of a draft to a profile."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from cimsim.errors import CimsimError
from cimsim.exchange.notes import Draft
from cimsim.profile import Profile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def build_profile(
    draft: Draft, *, name: str, technology: str, title: str, source: str, description: str
) -> Profile:
    """Return the profile of a draft, with ``source`` as the source of all of its numbers.

    Raises:
        CimsimError: if the name or a number is not possible in a profile.
    """
    if not _NAME.fullmatch(name):
        raise CimsimError(f"'{name}' is not a valid profile name; use letters, digits, dots and -")
    data: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "title": title,
        "description": description,
        "cell": {"technology": technology, **draft.cell},
        "array": draft.array,
        "dac": draft.dac,
        "adc": draft.adc,
    }
    if draft.wires:
        data["wires"] = draft.wires
    _add_sources(data, source)
    try:
        return Profile.model_validate(data)
    except ValidationError as failure:
        first = failure.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if not str(part).isupper())
        reason = first["msg"].removeprefix("Value error, ")
        raise CimsimError(f"this configuration has no profile: '{place}' {reason}") from None


def _add_sources(data: dict[str, Any], source: str) -> None:
    """Give ``source`` to every section that can name one."""
    for part in ("cell", "array", "dac", "adc", "wires"):
        if part in data:
            _add_source(data[part], source)


def _add_source(section: dict[str, Any], source: str) -> None:
    section.setdefault("source", source)
    for name, value in section.items():
        if name in ("range", "codes", "pairs", "iv", "write_verify") and isinstance(value, dict):
            _add_source(value, source)
        elif name == "table" and isinstance(value, dict):
            value.setdefault("source", source)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict) and "kind" in part:
                    part.setdefault("source", source)
