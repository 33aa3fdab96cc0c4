"""Conversion of times in a file to seconds since programming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cimsim.fitting.columns import Column
from cimsim.fitting.issues import Issues, quoted
from cimsim.fitting.numerals import Parsed, is_missing, parse
from cimsim.fitting.reading import Reading
from cimsim.fitting.stamps import is_day, looks_like_clock, looks_like_stamp, parse_stamps
from cimsim.fitting.types import Indices, Numbers
from cimsim.units import SECONDS

# Seconds since 1970 for the years 2000 to 2100, and fractions of a second.
_EPOCH_S = (9.4e8, 4.1e9)
_PARTS = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}
# Days since 1900, as dates in spreadsheets, for the years 2000 to 2100.
_SERIAL_DAYS = (36526.0, 73051.0)
_STAMPS_RESOLVE_S = 1.0
_SAMPLE = 50


class Clock(NamedTuple):
    """Time of each read; absolute times have an arbitrary origin and are made relative later.

    Attributes:
        seconds: time of each read; NaN if missing.
        absolute: whether the times are points in time instead of ages.
        missing: number of missing times.
        notes: notes on assumptions.
    """

    seconds: Numbers
    absolute: bool
    missing: int
    notes: list[str]


def is_stamped(texts: Sequence[str]) -> bool:
    """Return whether a column contains dates or times of day instead of numbers."""
    sample = [text for text in texts if not is_missing(text)][:_SAMPLE]
    stamped = sum(looks_like_stamp(text) or looks_like_clock(text) for text in sample)
    return 2 * stamped > len(sample)


def has_clock(texts: Sequence[str]) -> bool:
    """Return whether a column contains times of day without dates."""
    return looks_like_clock(next((text for text in texts if not is_missing(text)), ""))


def read_clock(
    column: Column,
    texts: Sequence[str],
    dates: Sequence[str] | None,
    lines: Sequence[int],
    decimal: str,
    reading: Reading,
    issues: Issues,
) -> Clock:
    """Parse the times in a column: numbers with a unit, or dates with times of day.

    Args:
        column: column of times.
        texts: its values.
        dates: values of a column of dates, if there is one.
        lines: line of each value.
        decimal: decimal mark.
        reading: settings.
        issues: collects invalid values.
    """
    if is_stamped(texts):
        return _stamped(column, texts, dates, lines, reading, issues)
    factor = 1.0 if column.unit is None else column.unit.factor
    parsed: Parsed = parse(column.role, texts, lines, decimal, factor, issues)
    notes = []
    written = parsed.values / factor
    absolute = False
    for scale, what in _PARTS.items():
        if _within(written * scale, _EPOCH_S):
            absolute = True
            parsed = parsed._replace(values=written * scale)
            notes.append(f"Numbers in {quoted(column.header)} were read as {what} since 1970.")
    if _within(written, _SERIAL_DAYS) and _may_be_days(column, issues):
        absolute = True
        parsed = parsed._replace(values=written * SECONDS["d"])
        notes.append(
            f"Numbers in {quoted(column.header)} were read as dates of a spreadsheet, in days."
        )
    return Clock(parsed.values, absolute, parsed.missing + parsed.over_range, notes)


def _within(values: Numbers, bounds: tuple[float, float]) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known) and bounds[0] < known.min() and known.max() < bounds[1])


def _may_be_days(column: Column, issues: Issues) -> bool:
    """Return whether numbers in the range of spreadsheet dates are dates.

    Add an issue if neither unit nor header decides this.
    """
    if column.unit is not None:
        return column.unit.name == "d"
    if any(word in column.header.lower() for word in ("date", "stamp")):
        return True
    issues.add(
        f"the numbers in {quoted(column.header)} may be seconds or dates of a spreadsheet in days; "
        f"choose with --unit {column.role}=s or --unit {column.role}=d"
    )
    return False


def _stamped(
    column: Column,
    texts: Sequence[str],
    dates: Sequence[str] | None,
    lines: Sequence[int],
    reading: Reading,
    issues: Issues,
) -> Clock:
    whole = ["" if is_missing(text) else text for text in texts]
    first = next((text for text in whole if text), "")
    if has_clock(texts):
        if dates is None:
            issues.add(
                f"{column.role} is {quoted(first)}, a time of day without a date; choose the "
                "column of dates with --column date=NAME, or use seconds since programming"
            )
            return Clock(np.full(len(texts), np.nan), True, 0, [])
        whole = [f"{day.strip()} {text.strip()}" if text else "" for day, text in
                 zip(dates, whole, strict=True)]  # fmt: skip
    stamps = parse_stamps(column.role, whole, lines, reading.date_order, issues)
    missing = sum(not text for text in whole)
    notes = []
    if stamps.order != "ymd" and reading.date_order is None:
        order = {"dmy": "day, month, year", "mdy": "month, day, year"}[stamps.order]
        notes.append(f"Dates such as {quoted(first)} were read as {order}.")
    if all(is_day(text) for text in whole if text):
        notes.append(
            f"The dates in {quoted(column.header)} have no time of day: reads of the same day have "
            "one age, and drift within a day counts as read noise."
        )
    return Clock(stamps.seconds, True, missing, notes)


def since_programming(
    seconds: Numbers, programmed: Numbers | None, target_uS: Numbers, cell: Indices | None
) -> tuple[Numbers, str]:
    """Return ages computed from points in time, and a description of their origin.

    Without a time of programming, the earliest read of each cell at a target is at 0 s; without
    names of cells, the earliest read at each target is.
    """
    if programmed is not None:
        return seconds - programmed, "the time of programming in the file"
    targets = np.unique(target_uS, return_inverse=True)[1]
    cells = np.zeros(len(seconds), dtype=np.int64) if cell is None else cell
    key = targets * (int(cells.max()) + 1) + cells
    index = np.unique(key, return_inverse=True)[1]
    first = np.full(int(index.max()) + 1, np.inf)
    np.minimum.at(first, index, seconds)
    what = "the first read at each target" if cell is None else "the first read of each cell"
    return seconds - first[index], what


def resolution_s(absolute: bool) -> float:
    """Return the resolution of times: dates rarely have fractions of seconds."""
    return _STAMPS_RESOLVE_S if absolute else 0.0
