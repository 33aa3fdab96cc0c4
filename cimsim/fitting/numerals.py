"""Parsing of numbers in the formats of instruments and spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from cimsim.fitting.issues import Issues, quoted
from cimsim.fitting.types import Numbers
from cimsim.fitting.unit_names import unit_of

_MISSING = frozenset(
    "na n/a #n/a nan -nan - -- \u2013 \u2014 null none missing ? . \\n #div/0! #value! #num! #ref! "
    "#null! #name? nan(ind) -nan(ind) 1.#qnan 1.#ind -1.#ind".split()
) | {""}
_OVER_RANGE = frozenset(
    "inf +inf infinity +infinity \u221e 1.#inf ol o.l ovld ovfl over "
    "overflow overload overrange".split()
) | {"over range", "out of range"}
_FILLED = re.compile("[-\u2013\u2014*#.]+")  # filler of a column that is too narrow for its numbers
# SCPI instruments write 9.9E37 for an overflow and 9.91E37 for a missing value.
_LIMIT_OF_INSTRUMENTS = 9e36
_SPACES = "\u0020\u00a0\u2007\u2009\u202f"
_NUMBER = re.compile(
    rf"(?P<sign>[-+\u2212]?)(?P<digits>(?:\d[\d.,'\u2019{_SPACES}]*\d|\d)[.,]?|[.,]\d+)"
    rf"(?P<power>[eEdD][-+\u2212]?\d+)?[{_SPACES}]*(?P<unit>[A-Za-zµμ]*)"
)
_GROUPS = {
    mark: re.compile(rf"[1-9]\d{{0,2}}(?:[{re.escape(mark)}]\d{{3}})+") for mark in ",.'\u2019"
} | {" ": re.compile(rf"[1-9]\d{{0,2}}(?:[{_SPACES}]\d{{3}})+")}


class Parsed(NamedTuple):
    """Numbers of one column; missing and over-range values are NaN."""

    values: Numbers
    missing: int
    over_range: int


def decimal_mark(columns: Iterable[Sequence[str]], given: str | None, issues: Issues) -> str:
    """Return the decimal mark that fits all values.

    Args:
        columns: values of each column of numbers, without dates.
        given: decimal mark given by the user.
        issues: collects an ambiguity.
    """
    if given is not None:
        return given
    ambiguous = ""
    points = False
    for text in (text for column in columns for text in column):
        has_comma, has_point = "," in text, "." in text
        if not has_comma and (points or not has_point):
            continue
        match = _NUMBER.fullmatch(_bare(text))
        if match is None:
            continue
        digits = match["digits"]
        if not has_comma:
            points = not _GROUPS["."].fullmatch(digits)
            continue
        if has_point:
            return "," if digits.rfind(",") > digits.rfind(".") else "."
        if digits.count(",") > 1:
            return "."
        if not _GROUPS[","].fullmatch(digits):
            return ","
        ambiguous = ambiguous or text.strip()
    if ambiguous and not points:
        issues.add(
            f"the comma in {quoted(ambiguous)} may be a decimal comma or a thousands separator; "
            "choose one with --decimal , or --decimal ."
        )
    return "."


def parse(
    role: str,
    texts: Sequence[str],
    lines: Sequence[int],
    decimal: str,
    factor: float,
    issues: Issues,
) -> Parsed:
    """Parse the numbers of a column, in uS or s.

    Args:
        role: role of the column.
        texts: its values.
        lines: line of each value.
        decimal: decimal mark.
        factor: factor from the unit of the column to uS or s.
        issues: collects values that are not numbers.
    """
    values = np.full(len(texts), np.nan)
    missing = over = 0
    for index, text in enumerate(texts):
        try:
            # Fast path.
            value = float(text) if decimal == "." and "_" not in text else None
        except ValueError:
            value = None
        scale = factor
        if value is None:
            word = _bare(text)
            if is_missing(text):
                missing += 1
                continue
            if word.lower() in _OVER_RANGE:
                over += 1
                continue
            value, own = _number(role, word, decimal)
            scale = own or factor
        if value is None:
            issues.add(f"{role} must be a number, not {quoted(text)}", lines[index])
        elif value != value:
            missing += 1
        elif value == -np.inf:
            issues.add(f"{role} must be finite, not {quoted(text)}", lines[index])
        elif abs(value) > _LIMIT_OF_INSTRUMENTS:
            over += 1
        else:
            values[index] = value * scale
    return Parsed(values, missing, over)


def is_missing(text: str) -> bool:
    """Return whether a text means a missing value."""
    word = _bare(text).lower()
    return word in _MISSING or _FILLED.fullmatch(word) is not None


def is_numeric(text: str) -> bool:
    """Return whether a text is a number with any decimal mark, without a unit."""
    match = _NUMBER.fullmatch(_bare(text))
    return match is not None and not match["unit"]


def _bare(text: str) -> str:
    """Return a value without quotes and without prefixes that mark text for Excel."""
    word = text.strip().strip('"').strip()
    if word.startswith('="') or word.startswith("="):
        word = word[1:].strip('"')
    return word.lstrip("'").strip()


def _number(role: str, word: str, decimal: str) -> tuple[float | None, float | None]:
    """Return a number and the factor of its unit, if any; None if it is not a number."""
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None, None
    own = None
    if match["unit"]:
        unit = unit_of(role, match["unit"])
        if unit is None:
            return None, None
        own = unit.factor
    whole, _, fraction = match["digits"].partition(decimal)
    if not (fraction.isdecimal() or not fraction):
        return None, None
    if whole and not whole.isdecimal():
        if not any(group.fullmatch(whole) for key, group in _GROUPS.items() if key != decimal):
            return None, None
        whole = "".join(filter(str.isdecimal, whole))
    power = match["power"] or ""
    text = f"{match['sign']}{whole or '0'}.{fraction or '0'}e{power[1:] or '0'}"
    return float(text.replace("\u2212", "-")), own
