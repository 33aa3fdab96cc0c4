"""Recognition of the columns of a file and of their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cimsim.fitting.issues import Issues, enumerated, quoted
from cimsim.fitting.numerals import is_numeric
from cimsim.fitting.reading import Reading
from cimsim.fitting.unit_names import (
    SIEMENS,
    Unit,
    is_of_kind,
    is_other_unit,
    is_unit,
    unit_of,
)
from cimsim.suggest import nearest
from cimsim.units import SECONDS

REQUIRED = ("g_target_uS", "g_measured_uS", "time_s")
# programmed: time of programming of the cell; date: date of a time of day in another column.
OPTIONAL = ("cell", "read", "programmed", "date")
ROLES = (*REQUIRED, *OPTIONAL)

# G [S], G / S, G in S, G_%.
_WITH_UNIT = (
    r"(.*?)\s*[\[({<]\s*([^\])}>]*)\s*[\])}>]",
    r"(.*\S)\s*/\s*(\S+)",
    r"(.*\S)\s+in\s+(\S+)",
    r"(.*?)[\s_]*(%)",
)
_KNOWN_AS = {
    "g_target_uS": (
        "g_target",
        "target",
        "gtarget",
        "target_g",
        "g_set",
        "gset",
        "g_goal",
        "target_conductance",
        "conductance_target",
    ),
    "g_measured_uS": (
        "g_measured",
        "gmeasured",
        "measured",
        "measured_g",
        "g_meas",
        "gmeas",
        "g_read",
        "gread",
        "measured_conductance",
        "conductance_measured",
        "conductance",
        "g",
    ),
    "time_s": (
        "time",
        "t",
        "time_since_programming",
        "elapsed",
        "elapsed_time",
        "timestamp",
        "time_stamp",
        "datetime",
        "date_time",
        "date_and_time",
    ),
    "cell": ("cell", "cell_id", "cell_name", "cell_no", "device", "device_id"),
    "read": ("read", "read_no", "read_id", "read_number", "repeat"),
    "programmed": ("programmed", "programmed_at", "time_programmed", "programming_time"),
    "date": ("date",),
}
# Names without underscores, so that CellID matches cell_id.
_SQUASHED = {
    role: frozenset(name.replace("_", "") for name in names) for role, names in _KNOWN_AS.items()
}


@dataclass(frozen=True)
class Column:
    """A recognized column of the file.

    Attributes:
        role: one of ``ROLES``.
        at: its index in the file, from 0; the texts of several columns are joined.
        header: its header in the file.
        unit: its unit according to header or option; None if not given.
        stated: whether an option gives the unit.
    """

    role: str
    at: tuple[int, ...]
    header: str
    unit: Unit | None = None
    stated: bool = False


def same_column(header: str, name: str) -> bool:
    """Return whether the header equals a name given by the user, except for spaces and quotes."""
    return header.strip().strip("\"'").strip() == name.strip()


def role_named(name: str) -> str | None:
    """Return the role that ``name`` means in an option, with or without its unit, or None."""
    for role in ROLES:
        if name == role:
            return role
    return next((role for role in ROLES if _stem_of(role, name) is not None), None)


def recognized(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the columns that may have each role, judged by their names.

    A column whose name equals the role takes precedence over all others.
    """
    chosen: dict[str, list[int]] = {}
    for role in ROLES:
        exact = [i for i, name in enumerate(header) if same_column(name, role)]
        places = exact or [i for i, name in enumerate(header) if _stem_of(role, name) is not None]
        if places:
            chosen[role] = places
    return chosen


def choose(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    units_row: Sequence[str],
    reading: Reading,
    issues: Issues,
) -> dict[str, Column]:
    """Choose the column of each role.

    Args:
        header: names of the file's columns.
        rows: their values; columns of equal names and values count as one.
        units_row: unit of each column from a row of units, or empty texts.
        reading: settings; its columns and units take precedence.
        issues: collects missing and ambiguous columns.
    """
    named = _named(header, reading, issues)
    by_name = recognized(header)
    columns: dict[str, Column] = {}
    for role in ROLES:
        at = named.get(role)
        if at is None:
            taken = {place for places in named.values() for place in places}
            places = [place for place in by_name.get(role, []) if place not in taken]
            if len(places) > 1 and _equal(places, rows):
                places = places[:1]
            if len(places) > 1:
                names = enumerated([f"'{header[i].strip()}' (#{i + 1})" for i in places])
                issues.add(
                    f"{len(places)} columns may be {role}: {names}; keep one, or choose it with "
                    f"--column {role}=#{places[0] + 1}"
                )
            at = tuple(places[:1])
        if at:
            name = " + ".join(header[i].strip() for i in at)
            columns[role] = Column(role, at, name)
    if header and all(map(is_numeric, header)):
        issues.add(f"the header is missing; add a line such as {','.join(REQUIRED)}")
        return columns
    listed = enumerated([name.strip() or "(no name)" for name in header], 12)
    for role in REQUIRED:
        if role not in columns:
            taken = {place for column in columns.values() for place in column.at}
            near = nearest(
                role,
                [
                    name.strip()
                    for place, name in enumerate(header)
                    if place not in taken and not _other_unit_in(name)
                ],
            )
            example = near or "ITS HEADER"
            hint = f"did you mean '{near}'? Choose it with" if near else "choose one with"
            issues.add(f"the column {role} is missing; the file has {listed}; {hint} "
                       f'--column {role}="{example}"')  # fmt: skip
    return {
        role: _with_unit(column, header, units_row, reading, issues)
        for role, column in columns.items()
    }


def _named(header: Sequence[str], reading: Reading, issues: Issues) -> dict[str, tuple[int, ...]]:
    """Return the columns that the user named."""
    chosen: dict[str, tuple[int, ...]] = {}
    for key, name in reading.columns.items():
        role = role_named(key)
        if role is None:
            issues.add(f"--column {key}: unknown column; use one of {', '.join(ROLES)}")
            continue
        places = _places(header, name)
        if not places and role == "cell" and "+" in name:
            parts = [_places(header, part) for part in name.split("+")]
            places = [part[0] for part in parts if part] if all(parts) else []
            chosen[role] = tuple(places)
        elif places:
            chosen[role] = (places[0],)
        if len(places) > 1 and role != "cell":
            issues.add(
                f"--column {key}={quoted(name)}: {len(places)} columns have that name; choose one "
                f"by its number, such as {key}=#{places[0] + 1}"
            )
        if not places:
            issues.add(
                f"--column {key}: no such column: {quoted(name)}; the file has "
                f"{enumerated([text.strip() for text in header], 12)}"
            )
    return chosen


def _places(header: Sequence[str], name: str) -> list[int]:
    number = re.fullmatch(r"#(\d+)", name.strip())
    if number:
        return [int(number[1]) - 1] if 0 < int(number[1]) <= len(header) else []
    return [i for i, text in enumerate(header) if same_column(text, name)]


def _equal(places: Iterable[int], rows: Sequence[Sequence[str]]) -> bool:
    first, *others = places
    return all(row[first].strip() == row[i].strip() for row in rows for i in others)


def _with_unit(
    column: Column,
    header: Sequence[str],
    units_row: Sequence[str],
    reading: Reading,
    issues: Issues,
) -> Column:
    """Return the column with its unit from an option, the row of units, or the header."""
    role = column.role
    if role not in REQUIRED:
        return column
    names = [header[i] for i in column.at]
    for key, text in reading.units.items():
        if key and role_named(key) != role and not any(same_column(n, key) for n in names):
            continue
        unit = unit_of(role, text) if key or is_of_kind(role, text) else None
        if unit is not None:
            return replace(column, unit=unit, stated=True)
        if key:
            known = SECONDS if role == "time_s" else SIEMENS
            issues.add(f"--unit {key}={text}: unknown unit; use one of {', '.join(known)}")
    by_header = _unit_in(role, names[0])
    by_row = unit_of(role, units_row[column.at[0]]) if units_row else None
    if by_header and by_row and by_header != by_row:
        issues.add(
            f"the column {quoted(column.header)} has another unit, {by_row.name}, in the row below "
            f"its header; choose one with --unit {role}={by_row.name}"
        )
    unit = by_row or by_header
    other = _other_unit_in(names[0])
    if not other and units_row and is_other_unit(units_row[column.at[0]]):
        other = units_row[column.at[0]].strip()
    if unit is None and other and role.startswith("g_"):
        issues.add(
            f"the column {quoted(column.header)} is in {other}, but {role} is a conductance; "
            "convert it to siemens first (1 / resistance, current / voltage, or percent of a "
            "conductance)"
        )
    return replace(column, unit=unit)


def check_units(reading: Reading, header: Sequence[str], issues: Issues) -> None:
    """Add issues for units of missing columns and for unknown units."""
    for key, text in reading.units.items():
        if not key and not is_unit(text):
            issues.add(
                f"--unit {text}: must be one of {', '.join((*SIEMENS, *SECONDS))}, or COLUMN=UNIT"
            )
        elif key and role_named(key) is None and not any(same_column(h, key) for h in header):
            issues.add(f"--unit {key}={text}: no such column: {quoted(key)}")


def _split(name: str) -> tuple[str, str]:
    """Split a header into its name and its unit in brackets or after a slash."""
    name = name.strip().strip("\"'").strip()
    for pattern in _WITH_UNIT:
        match = re.fullmatch(pattern, name)
        if match and (is_unit(match[2]) or is_other_unit(match[2])):
            return match[1], match[2]
    return name, ""


def _other_unit_in(name: str) -> str:
    """Return a unit of another quantity, or percent, in a header; empty without one."""
    stem, unit = _split(name)
    words = _words(stem)
    unit = unit or (words[-1] if len(words) > 1 else "")
    return unit if is_other_unit(unit) else ""


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.replace("µ", "u").replace("μ", "u")) if word]


def _stem_of(role: str, name: str) -> str | None:
    """Return the name without its unit if it is a known name of the role, or None."""
    words = _words(_split(name)[0])
    whole = "".join(words).lower()
    if whole in _SQUASHED[role]:
        return whole
    stem = "".join(words[:-1]).lower()
    return stem if words and unit_of(role, words[-1]) and stem in _SQUASHED[role] else None


def _unit_in(role: str, name: str) -> Unit | None:
    """Return the unit in a header: in brackets, after a slash, or as its last word."""
    stem, unit = _split(name)
    if unit:
        return unit_of(role, unit)
    words = _words(stem)
    return unit_of(role, words[-1]) if len(words) > 1 else None
