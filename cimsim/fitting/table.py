"""Reading of a file of measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cimsim.fitting.ages import ages
from cimsim.fitting.columns import REQUIRED, Column, check_units, choose
from cimsim.fitting.issues import Issues, quoted
from cimsim.fitting.measurements import Measurements
from cimsim.fitting.numerals import Parsed, decimal_mark, parse
from cimsim.fitting.plausible import (
    check_numbers_of_cells,
    notes_on_times,
    repeated,
)
from cimsim.fitting.plausible import check_units as check_plausible_units
from cimsim.fitting.reading import Reading
from cimsim.fitting.sheet import Sheet, read_sheet
from cimsim.fitting.text import read_text
from cimsim.fitting.times import (
    Clock,
    has_clock,
    is_stamped,
    read_clock,
    resolution_s,
    since_programming,
)
from cimsim.fitting.types import Indices, Mask, Numbers

# Due to readout noise, a cell without current has as many negative as positive reads.
_NEGATIVE_SHARE = 0.02
_CONDUCTANCES = ("g_target_uS", "g_measured_uS")
_IMPLIED = {"g_target_uS": "uS", "g_measured_uS": "uS", "time_s": "s"}


def read_measurements(path: Path, reading: Reading = Reading()) -> Measurements:  # noqa: B008
    """Read the measurements in a CSV file.

    Columns, in any order: ``g_target_uS``, ``g_measured_uS``, ``time_s`` (since programming), and
    optionally ``cell`` (any text that names a cell) and ``read`` (any text that distinguishes
    repeated reads of one cell at one time). Other units in a header are converted, and points in
    time become ages. Other columns, lines that begin with ``#`` and empty lines are ignored.

    Args:
        path: the file, in any encoding and with any delimiter.
        reading: settings for everything that cannot be recognized.

    Returns:
        The measurements, with ``notes`` on all assumptions.

    Raises:
        CimsimError: if the file cannot be read, a column is missing, a value is not a number,
            negative or not finite, the format is ambiguous, a unit is wrong, or there are too few
            values. The message lists all errors with their lines.
    """
    text, notes = read_text(path, reading.encoding)
    issues = Issues(path)
    sheet = read_sheet(path, text, reading, issues)
    columns = choose(sheet.header, sheet.rows, sheet.units, reading, issues)
    check_units(reading, sheet.header, issues)
    if any(role not in columns for role in REQUIRED):
        issues.raise_if_any()
    copies, notes_on_copies = repeated(sheet.rows, {"cell", "read"} <= set(columns))
    table = _Table(sheet, columns, ~copies)
    notes += [*sheet.notes, *_notes_on_columns(columns, reading), *notes_on_copies]
    measurements = _numbers(path.name, table, reading, notes, issues)
    issues.raise_if_any()
    check_plausible_units(measurements, columns, issues)
    issues.raise_if_any()
    check_numbers_of_cells(measurements, issues)
    issues.raise_if_any()
    return measurements


class _Table:
    """Recognized columns as texts."""

    def __init__(self, sheet: Sheet, columns: dict[str, Column], kept: Mask) -> None:
        rows = [row for row, keep in zip(sheet.rows, kept, strict=True) if keep]
        self.lines = [line for line, keep in zip(sheet.lines, kept, strict=True) if keep]
        self.columns = columns
        self.texts = {
            role: [" ".join(row[i].strip() for i in column.at) for row in rows]
            for role, column in columns.items()
        }
        self.delimiter = sheet.delimiter


def _numbers(
    file: str, table: _Table, reading: Reading, notes: list[str], issues: Issues
) -> Measurements:
    """Return the rows with a number in each required column; add assumptions to ``notes``."""
    numeric = [table.texts[role] for role in _CONDUCTANCES]
    if not is_stamped(table.texts["time_s"]):
        numeric.append(table.texts["time_s"])
    decimal = decimal_mark(numeric, reading.decimal, issues)
    if decimal == "," and reading.decimal is None:
        notes.append("Numbers were read with decimal commas.")
    parsed = {role: _parsed(role, table, decimal, issues) for role in _CONDUCTANCES}
    clock = read_clock(
        table.columns["time_s"], table.texts["time_s"], table.texts.get("date"), table.lines,
        decimal, reading, issues,
    )  # fmt: skip
    programmed = _programmed(table, decimal, reading, clock, issues)
    _add_options_without_effect(table, reading, clock, issues)
    cell = _cells(table, issues)
    issues.raise_if_any()
    target, measured, time = (
        parsed["g_target_uS"].values, parsed["g_measured_uS"].values, clock.seconds,
    )  # fmt: skip
    whole = np.isfinite(target) & np.isfinite(measured) & np.isfinite(time)
    if programmed is not None:
        whole &= np.isfinite(programmed)
    notes += clock.notes
    _note_missing(whole, parsed, clock, notes, issues)
    issues.raise_if_any()
    target, measured, time = target[whole], measured[whole], time[whole]
    lines = np.array(table.lines, dtype=np.int64)[whole]
    cell = None if cell is None else cell[whole]
    if clock.absolute:
        start = None if programmed is None else programmed[whole]
        time, since = since_programming(time, start, target, cell)
        notes.append(f"Points in time were converted to seconds since {since}.")
    _check_signs(
        {"g_target_uS": target, "g_measured_uS": measured, "time_s": time}, lines, notes, issues
    )
    if not clock.absolute:
        notes += notes_on_times(time, _is_sure(table.columns["time_s"]))
    grouped = ages(time, cell, reading.tolerance(), resolution_s(clock.absolute))
    notes += grouped.notes
    return Measurements(file, target, measured, grouped.time_s, cell, lines, tuple(notes))


def _parsed(role: str, table: _Table, decimal: str, issues: Issues) -> Parsed:
    unit = table.columns[role].unit
    factor = 1.0 if unit is None else unit.factor
    return parse(role, table.texts[role], table.lines, decimal, factor, issues)


def _programmed(
    table: _Table, decimal: str, reading: Reading, clock: Clock, issues: Issues
) -> Numbers | None:
    """Return the time of programming of the cell of each row, if the file contains it."""
    if "programmed" not in table.columns or not clock.absolute:
        return None
    column = table.columns["programmed"]
    return read_clock(
        column, table.texts["programmed"], table.texts.get("date"), table.lines, decimal, reading,
        issues,
    ).seconds  # fmt: skip


def _add_options_without_effect(
    table: _Table, reading: Reading, clock: Clock, issues: Issues
) -> None:
    """Add issues for options of times that the file leaves without effect."""
    times = {
        role: column for role, column in table.columns.items() if role in ("time_s", "programmed")
    }
    stamped = {role for role in times if is_stamped(table.texts[role])}
    header = quoted(times["time_s"].header)
    if reading.date_order is not None and not stamped:
        issues.add(f"--date-order applies to dates, but {header} contains numbers; leave it out")
    for role in stamped:
        if times[role].stated:
            has = f"{quoted(times[role].header)} contains dates or times of day"
            issues.add(f"--unit {role} applies to numbers, but {has}; leave it out")
    if "programmed" in reading.columns and not clock.absolute:
        issues.add(
            f"--column programmed applies to points in time, but {header} contains ages; leave it "
            "out"
        )
    if "date" in reading.columns and not has_clock(table.texts["time_s"]):
        issues.add(
            f"--column date applies to times of day, but {header} contains none; leave it out"
        )


def _cells(table: _Table, issues: Issues) -> Indices | None:
    """Return the index of the cell of each row, or None."""
    names = table.texts.get("cell")
    if names is None:
        if "read" in table.columns and table.columns["read"].header == "read":
            issues.add("the column read requires a column cell")
        return None
    if "" in names:
        empty = [line for line, name in zip(table.lines, names, strict=True) if not name]
        for line in empty:
            issues.add("cell is empty; add a name, or remove the column", line)
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def _note_missing(
    whole: Mask, parsed: dict[str, Parsed], clock: Clock, notes: list[str], issues: Issues
) -> None:
    left_out = int((~whole).sum())
    if not left_out:
        return
    missing = {role: column.missing for role, column in parsed.items()} | {"time_s": clock.missing}
    parts = [f"{role} is missing in {n}" for role, n in missing.items() if n]
    over = sum(column.over_range for column in parsed.values())
    parts += [f"a value is over the range of the instrument in {over}"] if over else []
    if 2 * left_out > len(whole):
        issues.add(
            f"{left_out} of {len(whole)} lines lack a value ({', '.join(parts)}); write the value "
            "in every line that it applies to"
        )
    notes.append(f"{left_out} of {len(whole)} lines were excluded: {', '.join(parts)}.")


def _check_signs(
    columns: dict[str, Numbers], lines: Indices, notes: list[str], issues: Issues
) -> None:
    """Add issues for negative values, except for readout noise around zero."""
    for name, values in columns.items():
        below = np.flatnonzero(values < 0)
        if not len(below):
            continue
        scale = float(columns["g_target_uS"].max())
        if name == "g_measured_uS" and (values[below] >= -_NEGATIVE_SHARE * scale).all():
            count = len(below)
            notes.append(
                f"{count} {'read is' if count == 1 else 'reads are'} below zero, by at most "
                f"{-values[below].min():.2g} µS; this was assumed to be readout noise."
            )
            continue
        # Excluding only the negative reads would bias a cell near zero.
        advice = {
            "g_measured_uS": "subtract the offset of the readout",
            "time_s": "use the time since programming",
        }.get(name, "remove such lines")
        for index in below:
            issues.add(
                f"{name} must be a finite number of 0 or more, not {values[index]:g}; {advice}",
                int(lines[index]),
            )


def _is_sure(column: Column) -> bool:
    """Return whether an option gives the unit, or the header gives one other than the default."""
    return column.stated or (column.unit is not None and column.unit.factor != 1.0)


def _notes_on_columns(columns: dict[str, Column], reading: Reading) -> list[str]:
    """Return a note on recognized columns whose names or units differ from the standard."""
    taken = []
    for role, column in columns.items():
        unit = "" if column.unit is None else f" in {column.unit.name}"
        assumed = role in _IMPLIED and column.unit is None
        if column.header != role and role not in reading.columns:
            unit = f" in {_IMPLIED[role]} (assumed)" if assumed and role != "time_s" else unit
            taken.append(f"{role} is {quoted(column.header)}{unit}")
        elif unit and column.unit and column.unit.name != _IMPLIED.get(role):
            taken.append(f"{role} is{unit}")
    return [f"Columns: {', '.join(taken)}."] if taken else []
