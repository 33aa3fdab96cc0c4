"""Parsing of dates and times of day to seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np

from cimsim.fitting.issues import Issues, quoted
from cimsim.fitting.types import Numbers

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SPELLED = re.compile(r"(\d{1,2})[-. ]+([A-Za-z]{3})[a-z]*[-., ]+(\d{4})")
_SPELLED_US = re.compile(r"([A-Za-z]{3})[a-z]*[. ]+(\d{1,2}),? +(\d{4})")
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,:](\d{1,9}))?)?\s*([aApP])?(?:\.?[mM]\.?)?"
    r"\s*(Z|UTC|GMT|[-+]\d{2}:?\d{2})?"
)
_COMPACT_CLOCK = re.compile(r"(\d{2})(\d{2})(\d{2})(?:[.,](\d{1,9}))?()\s*(Z|[-+]\d{2}:?\d{2})?")
_BREAK = re.compile(r"T|,?\s+|(?<=\d{4}):|[-_](?=\d{1,2}:)")
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[.,]?\s+", re.IGNORECASE)
_YEAR_LAST = re.compile(r"([A-Za-z]{3}\s+\d{1,2})\s+(\S*:\S+)\s+(\d{4})")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Stamps(NamedTuple):
    """Seconds since 1970, and the order of day, month and year."""

    seconds: Numbers
    order: str


class _Stamp(NamedTuple):
    """Parts of a date in their order, and the time since midnight (in UTC if a zone is given)."""

    parts: tuple[int, int, int]
    order: str
    since_midnight: timedelta


def looks_like_stamp(text: str) -> bool:
    """Return whether a text is a date, with or without a time of day."""
    return _stamp(text) is not None


def is_day(text: str) -> bool:
    """Return whether a text is a date without a time of day."""
    return _parts(text.strip().strip('"').strip()) is not None


def looks_like_clock(text: str) -> bool:
    """Return whether a text is a time of day without a date."""
    return _CLOCK.fullmatch(text.strip()) is not None


def parse_stamps(
    role: str, texts: Sequence[str], lines: Sequence[int], order: str | None, issues: Issues
) -> Stamps:
    """Convert dates with times of day to seconds; empty texts become NaN.

    Dates with dots are day, month, year. In dates with slashes or dashes and the year last, a
    number above 12 is the day, and AM or PM means that the month comes first.

    Args:
        role: role of the column.
        texts: values.
        lines: line of each value.
        order: order given by the user: dmy, mdy or ymd, or None.
        issues: collects values that are not dates, and ambiguous dates.
    """
    stamps = [_stamp(text) if text.strip() else None for text in texts]
    chosen = order or _order(role, [stamp for stamp in stamps if stamp is not None], texts, issues)
    seconds = np.full(len(texts), np.nan)
    for index, (text, stamp) in enumerate(zip(texts, stamps, strict=True)):
        if not text.strip():
            continue
        date = None if stamp is None else _date(stamp, chosen)
        if date is None or stamp is None:
            issues.add(f"{role} must be a date and time, not {quoted(text)}", lines[index])
            continue
        # Not added to the date first, because datetime overflows after the year 9999.
        seconds[index] = (date - _EPOCH + stamp.since_midnight).total_seconds()
    return Stamps(seconds, chosen)


def _order(role: str, stamps: list[_Stamp], texts: Sequence[str], issues: Issues) -> str:
    open_ones = [stamp for stamp in stamps if stamp.order == "?"]
    if not open_ones:
        return stamps[0].order if stamps else "ymd"
    if any(stamp.parts[0] > 12 for stamp in open_ones):
        return "dmy"
    if any(stamp.parts[1] > 12 for stamp in open_ones):
        return "mdy"
    if any(re.search(r"\d\s*[AaPp]\.?[Mm]", text) for text in texts):
        return "mdy"
    if len({stamp.parts for stamp in open_ones}) > 1:
        first = next(text for text in texts if text.strip())
        issues.add(
            f"{role}: dates such as {quoted(first)} may have the day or the month first; choose "
            "with --date-order dmy or --date-order mdy"
        )
    # With a single date the order makes no difference.
    return "dmy"


def _date(stamp: _Stamp, order: str) -> datetime | None:
    a, b, c = stamp.parts
    known = order if stamp.order == "?" else stamp.order
    year, month, day = {"ymd": (a, b, c), "dmy": (c, b, a), "mdy": (c, a, b)}[known]
    try:
        return datetime(year + 2000 if year < 100 else year, month, day, tzinfo=timezone.utc)
    except ValueError:
        return None


def _stamp(text: str) -> _Stamp | None:
    text = _WEEKDAY.sub("", text.strip().strip('"').strip(), count=1)
    if match := _YEAR_LAST.fullmatch(text):  # format of C's ctime
        text = f"{match[1]} {match[3]} {match[2]}"
    if day := _parts(text):
        return _Stamp(*day, timedelta())
    for gap in _BREAK.finditer(text):
        day, since = _parts(text[: gap.start()]), _since_midnight(text[gap.end() :])
        if day is not None and since is not None:
            return _Stamp(*day, since)
    return None


def _parts(day: str) -> tuple[tuple[int, int, int], str] | None:
    if match := _DATE.fullmatch(day):
        first, mark, second, third = match.groups()
        parts = int(first), int(second), int(third)
        if len(first) == 4:
            return parts, "ymd"
        if len(third) not in (2, 4) or len(first) > 2:
            return None
        return parts, "dmy" if mark == "." else "?"
    if match := _COMPACT.fullmatch(day):
        return (int(match[1]), int(match[2]), int(match[3])), "ymd"
    for pattern, order in ((_SPELLED, "dmy"), (_SPELLED_US, "mdy")):
        if match := pattern.fullmatch(day):
            names = [_MONTHS.index(w.lower()) + 1 if w.lower() in _MONTHS else
                     int(w) if w.isdecimal() else 0 for w in match.groups()]  # fmt: skip
            return (names[0], names[1], names[2]), order
    return None


def _since_midnight(clock: str) -> timedelta | None:
    match = _CLOCK.fullmatch(clock.strip()) or _COMPACT_CLOCK.fullmatch(clock.strip())
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[5]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if match[5].lower() == "p" else 0)
    if hours > 24 or minutes > 59 or seconds > 60:
        return None
    fraction = float(f"0.{match[4]}") if match[4] else 0.0
    since = timedelta(hours=hours, minutes=minutes, seconds=seconds + fraction)
    zone = match[6]
    if zone and zone[0] in "+-":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        since -= offset if zone[0] == "+" else -offset
    return since
