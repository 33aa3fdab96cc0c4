"""Recognition of units of conductance and time."""

from __future__ import annotations

import re
from typing import NamedTuple

from cimsim.units import SECONDS

# uS in each unit of conductance.
SIEMENS = {"S": 1e6, "mS": 1e3, "uS": 1.0, "nS": 1e-3, "pS": 1e-6}
_SPELLED = {"siemens": "S", "millisiemens": "mS", "microsiemens": "uS", "nanosiemens": "nS"}
_LIKE_SIEMENS = {unit.lower(): unit for unit in SIEMENS} | _SPELLED
_LIKE_SECONDS = {
    **{unit: unit for unit in SECONDS},
    **{"sec": "s", "secs": "s", "second": "s", "seconds": "s"},
    **{"msec": "ms", "millisecond": "ms", "milliseconds": "ms", "usec": "us"},
    **{"microsecond": "us", "microseconds": "us", "nanoseconds": "ns"},
    **{"m": "min", "mins": "min", "minute": "min", "minutes": "min"},
    **{"hr": "h", "hrs": "h", "hour": "h", "hours": "h"},
    **{"day": "d", "days": "d", "week": "w", "weeks": "w"},
}
_OTHER = re.compile(r"[TGMkmunp]?(ohms?|Ohms?|\u03a9|\u2126|A|V)|%")


class Unit(NamedTuple):
    """A unit and its factor to uS or s."""

    name: str
    factor: float


def unit_of(role: str, text: str) -> Unit | None:
    """Return the unit that a text means in a column of conductances or times, or None.

    The kind of column determines the meaning of ``ms``.

    >>> unit_of("g_target_uS", "[µS]"), unit_of("time_s", "ms")
    (Unit(name='uS', factor=1.0), Unit(name='ms', factor=0.001))
    """
    word = _word(text)
    if role.startswith("g_"):
        name = _LIKE_SIEMENS.get(word.lower())
        # A capital M is mega.
        return Unit(name, SIEMENS[name]) if name and not word.startswith("M") else None
    if role == "time_s":
        name = _LIKE_SECONDS.get(word) or _LIKE_SECONDS.get(word.lower())
        return Unit(name, SECONDS[name]) if name else None
    return None


def is_of_kind(role: str, text: str) -> bool:
    """Return whether a unit is of the column's quantity: ``ms`` is time, ``mS`` is conductance."""
    siemens = text.strip().endswith("S") or "siemens" in text.lower()
    return siemens == role.startswith("g_")


def is_unit(text: str) -> bool:
    """Return whether a text is a unit of conductance or time."""
    return any(unit_of(role, text) for role in ("g_target_uS", "time_s"))


def is_other_unit(text: str) -> bool:
    """Return whether a text is a unit of resistance, current or voltage, or percent.

    >>> is_other_unit("kOhm"), is_other_unit("[nA]"), is_other_unit("%"), is_other_unit("uS")
    (True, True, True, False)
    """
    return _OTHER.fullmatch(_word(text)) is not None


def _word(text: str) -> str:
    """Return a unit without brackets, and with a plain u for micro."""
    return re.sub(r"[\s\[\](){}<>.]", "", text).replace("µ", "u").replace("μ", "u")
