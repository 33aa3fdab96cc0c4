"""Parsing and formatting of durations."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from cimsim.errors import CimsimError
from cimsim.suggest import shortened

# Seconds in each unit of time, ascending.
SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "mo": 365.25 / 12 * 86400.0,
    "y": 365.25 * 86400.0,
}
_NAMES = {
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "minute": "min",
    "minutes": "min",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "week": "w",
    "weeks": "w",
    "month": "mo",
    "months": "mo",
    "year": "y",
    "years": "y",
}
_DURATION = re.compile(r"\s*([-+0-9.eE]+?)\s*([a-zA-Z]*)\s*")


def parse_duration(text: str | float | timedelta) -> float:
    """Convert a duration to seconds.

    ``text`` may be ``"1 day"``, ``"1h"``, ``"250ns"``, a plain number of seconds, or a
    ``datetime.timedelta``.

    Raises:
        CimsimError: if the text is not a duration, or is negative or not finite.

    >>> parse_duration("1 day")
    86400.0
    >>> parse_duration(20)
    20.0
    """
    try:
        seconds = _seconds(text)
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise CimsimError(
            f"'{shortened(str(text))}' is not a duration; give a number and one of "
            f"{', '.join(SECONDS)}, such as 20s, 1h, '1 day' or 10y"
        )
    return seconds


def _seconds(duration: object) -> float:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if not isinstance(duration, str):
        # Any type that converts to a number, such as those of numpy and torch.
        return math.nan if isinstance(duration, bytes) else float(duration)  # type: ignore[arg-type]
    match = _DURATION.fullmatch(duration)
    if match is None:
        return math.nan
    unit = _NAMES.get(match[2].lower(), match[2])
    return float(match[1]) * SECONDS[unit or "s"]


def typed_duration(seconds: float) -> str:
    """Return a duration in the form of command-line arguments, without loss of precision.

    >>> typed_duration(3600.0), typed_duration(1234.5678)
    ('1h', '1234.5678')
    """
    short = format_duration(seconds).replace(" ", "")
    return short if parse_duration(short) == seconds else repr(seconds)


def format_duration(seconds: float) -> str:
    """Return a duration in its largest suitable unit: ``3600`` becomes ``"1 h"``.

    >>> format_duration(86400)
    '1 d'
    >>> format_duration(0)
    '0 s'
    """
    if seconds == 0:
        return "0 s"
    for unit in ("y", "d", "h", "min", "s", "ms", "us"):
        if seconds >= SECONDS[unit] * (1 - 1e-9):
            return f"{seconds / SECONDS[unit]:.4g} {unit}"
    return f"{seconds / SECONDS['ns']:.4g} ns"
