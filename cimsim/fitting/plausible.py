"""Plausibility checks: wrong units, lines pasted twice, too few cells."""

from __future__ import annotations

import math

import numpy as np

from cimsim.fitting.columns import Column
from cimsim.fitting.issues import Issues, enumerated
from cimsim.fitting.measurements import FEWEST_CELLS, Measurements
from cimsim.fitting.types import Indices, Mask, Numbers
from cimsim.fitting.unit_names import SIEMENS
from cimsim.units import SECONDS, format_duration

# Typical conductance of memory cells, which range from 0.1 uS to 10 mS.
_TYPICAL_uS = 25.0
_LOWEST_uS, _HIGHEST_uS = 0.1, 1e4
_FULL_NAMES = {
    "S": "siemens",
    "mS": "millisiemens",
    "uS": "microsiemens",
    "nS": "nanosiemens",
    "pS": "picosiemens",
}
# Additional factor before a unit in a header is questioned.
_MARGIN_OF_HEADER = 1e3
_NEARLY_A_UNIT = 0.5
_LARGEST_RATIO, _SMALLEST_RATIO = 50.0, 0.02
_LONG_S = SECONDS["y"]
_LATE_FIRST_S = 100.0
# At least this many successive equal lines in the same order are a copy.
_PASTED = 10


def check_units(measurements: Measurements, columns: dict[str, Column], issues: Issues) -> None:
    """Add issues for columns whose numbers do not fit their unit.

    Args:
        measurements: the measurements, in uS.
        columns: their columns; units given by an option are not questioned.
        issues: collects the issues.
    """
    values = {"g_target_uS": measurements.target_uS, "g_measured_uS": measurements.measured_uS}
    before = len(issues)
    for name, of_column in values.items():
        # A quantile, because a few over-range readings do not depend on the unit.
        largest = float(np.quantile(of_column, 0.98))
        unit = columns[name].unit
        margin = 1.0 if unit is None or unit.factor == 1.0 else _MARGIN_OF_HEADER
        if of_column.max() <= 0:
            issues.add(f"all values of {name} are 0; check the column")
        elif largest > 0 and not columns[name].stated and not (
            _LOWEST_uS / margin <= largest <= _HIGHEST_uS * margin
        ):  # fmt: skip
            written = largest / (unit.factor if unit else 1.0)
            now = unit.name if unit else "uS"
            likely = _likely_unit(written)
            issues.add(
                f"the largest {name} is {written:g}, which looks like {_FULL_NAMES[likely]}; use "
                f"--unit {name}={likely}, or --unit {name}={now} if it is {_FULL_NAMES[now]}"
            )
    if len(issues) > before:
        return
    written_cells = measurements.target_uS > 0.2 * measurements.target_uS.max()
    ratio = _ratio(measurements, written_cells)
    if not _SMALLEST_RATIO < ratio < _LARGEST_RATIO:
        issues.add(
            f"g_measured_uS is {ratio:.3g} times g_target_uS, so their units seem to differ; set "
            f"one with --unit g_target_uS=UNIT or --unit g_measured_uS=UNIT"
            f"{_guess(ratio, values, columns)}"
        )
        return
    for target in np.unique(measurements.target_uS[written_cells]):
        ratio = _ratio(measurements, measurements.target_uS == target)
        if ratio > _LARGEST_RATIO:
            issues.add(
                f"at g_target_uS {target:g}, g_measured_uS is {ratio:.3g} times as large, but not "
                "at other targets; use the same unit in all lines"
            )


def _ratio(measurements: Measurements, rows: Mask) -> float:
    return float(np.median(measurements.measured_uS[rows] / measurements.target_uS[rows]))


def _likely_unit(value: float) -> str:
    """Return the unit in which a value is closest to a typical cell."""
    return min(SIEMENS, key=lambda unit: abs(math.log(value * SIEMENS[unit] / _TYPICAL_uS)))


def _guess(ratio: float, values: dict[str, Numbers], columns: dict[str, Column]) -> str:
    """Return the most plausible unit of a column that explains the ratio, as a hint, if any."""
    candidates = []
    inverse = 1 / ratio if ratio > 0 else 0
    for name, expected in (("g_target_uS", ratio), ("g_measured_uS", inverse)):
        unit = columns[name].unit
        for other, factor in SIEMENS.items():
            change = factor / (unit.factor if unit else 1.0)
            if expected > 0 and abs(math.log10(change / expected)) < _NEARLY_A_UNIT:
                largest = float(np.quantile(values[name], 0.98)) * change
                if largest > 0:
                    candidates.append((abs(math.log(largest / _TYPICAL_uS)), f"{name}={other}"))
    return f", such as --unit {min(candidates)[1]}" if candidates else ""


def notes_on_times(time_s: Numbers, stated: bool) -> list[str]:
    """Return notes on implausible times if their unit was assumed."""
    first, last = float(time_s.min()), float(time_s.max())
    if stated or last < _LONG_S or (0 < first < _LATE_FIRST_S):
        return []
    ages = ", ".join(format_duration(age) for age in (first, last))
    return [
        f"The first and last times are {ages}; if they are milliseconds, use --unit time_s=ms; "
        "--unit time_s=s suppresses this note."
    ]


def repeated(rows: list[list[str]], labeled: bool) -> tuple[Mask, list[str]]:
    """Return a mask of rows that are copies of earlier rows, and notes.

    Equal rows may be equal reads of a coarse instrument. They are copies if a column numbers the
    reads, if every row occurs equally often, or if ten or more repeat in the same order.

    Args:
        rows: texts of each row.
        labeled: whether rows contain cell, time and read.
    """
    first: dict[tuple[str, ...], int] = {}
    origin = np.empty(len(rows), dtype=np.int64)
    for index, row in enumerate(rows):
        origin[index] = first.setdefault(tuple(cell.strip() for cell in row), index)
    again = origin != np.arange(len(rows))
    if not again.any():
        return again, []
    counts = np.unique(origin, return_counts=True)[1]
    if not labeled and not (counts.min() == counts.max() and len(counts) >= _PASTED):
        again = _pasted(origin, again)
    number = int(again.sum())
    if not number:
        return again, []
    which = "line repeats another line and was" if number == 1 else "lines repeat others and were"
    return again, [f"{number} {which} excluded."]


def _pasted(origin: Indices, again: Mask) -> Mask:
    """Return the repeats that are part of a run in the original order."""
    copied = np.zeros(len(again), dtype=np.bool_)
    start = 0
    for index in range(1, len(again) + 1):
        follows = index < len(again) and again[index] and again[index - 1] and (
            origin[index] == origin[index - 1] + 1
        )  # fmt: skip
        if not follows:
            if index - start >= _PASTED and again[start]:
                copied[start:index] = True
            start = index
    return copied


def check_numbers_of_cells(measurements: Measurements, issues: Issues) -> None:
    """Add issues for targets and times with too few cells to estimate a spread."""
    targets = np.unique(measurements.target_uS)
    if len(targets) < 2:
        issues.add(
            f"the file has only one target ({targets[0]:g} µS); measure at least two, the lowest "
            "and the highest that you use"
        )
        return
    places = measurements.places()
    times = np.unique(measurements.time_s)
    none = np.empty(0, dtype=np.int64)
    few = []
    for target, time in ((float(g), float(t)) for g in targets for t in times):
        rows = places.get((target, time), none)
        cells = len(rows) if measurements.cell is None else len(np.unique(measurements.cell[rows]))
        if cells < FEWEST_CELLS:
            few.append((cells, f"{target:g} µS after {format_duration(time)}"))
    if not few:
        return
    if len(few) == 1:
        places_of = few[0][1]
        issues.add(f"only {few[0][0]} cells were measured at {places_of}; {_ADVICE}")
        return
    places_of = enumerated([f"{place} ({cells})" for cells, place in few], 4)
    issues.add(f"only {few[0][0]} cells were measured at {few[0][1]}; {_ADVICE}; this applies to "
               f"{len(few) - 1} more combinations: {places_of}")  # fmt: skip


_ADVICE = (
    f"a spread needs at least {FEWEST_CELLS}; remove that time or target, or use "
    "--time-tolerance (such as 10% or 30s) to combine similar times"
)
