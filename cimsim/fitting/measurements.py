"""Measured conductances from a CSV file, checked before anything is made of them."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.suggest import unknown

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

REQUIRED = ("g_target_uS", "g_measured_uS", "time_s")
OPTIONAL = ("cell", "read")
FEWEST_CELLS = 10
_LOOKS_LIKE_SIEMENS, _LOOKS_LIKE_NANOSIEMENS = 1e-2, 1e4
_NONE = np.empty(0, dtype=np.int64)


class Cells(NamedTuple):
    """Some reads by cell, ascending: the mean of each, how many, and their squared deviations."""

    cell: Indices
    mean_uS: Numbers
    reads: Numbers
    squares_uS2: Numbers


@dataclass(frozen=True)
class Measurements:
    """One row for each read, as arrays of equal length.

    Attributes:
        file: name of the file they come from.
        target_uS, measured_uS, time_s: what was written, what was found, and how long after.
        cell: which cell it was, as an index; None if the file does not say.
    """

    file: str
    target_uS: Numbers
    measured_uS: Numbers
    time_s: Numbers
    cell: Indices | None

    @property
    def cells(self) -> int:
        """Number of different cells; of rows at the earliest time if cells have no names."""
        if self.cell is not None:
            return len(np.unique(self.cell))
        return int((self.time_s == self.time_s.min()).sum())

    def places(self) -> dict[tuple[float, float], Indices]:
        """The rows of every target and time that occur together, in ascending order."""
        targets, target = np.unique(self.target_uS, return_inverse=True)
        times, time = np.unique(self.time_s, return_inverse=True)
        # Sorted once: a mask over all rows for every place is slow where there are many.
        place = target * len(times) + time
        rows = np.argsort(place, kind="stable")
        codes, starts = np.unique(place[rows], return_index=True)
        names = (
            (float(targets[code // len(times)]), float(times[code % len(times)])) for code in codes
        )
        return dict(zip(names, np.split(rows, starts[1:]), strict=True))

    def by_cell(self, rows: Indices) -> Cells:
        """The reads in ``rows`` by cell; each read is its own cell if cells have no names."""
        values = self.measured_uS[rows]
        cell = np.arange(len(rows)) if self.cell is None else self.cell[rows]
        names, index = np.unique(cell, return_inverse=True)
        reads = np.bincount(index).astype(np.float64)
        mean = np.bincount(index, values) / reads
        squares = np.bincount(index, (values - mean[index]) ** 2).astype(np.float64)
        return Cells(names, mean, reads, squares)


def read_measurements(path: Path) -> Measurements:
    """The measurements in the CSV file ``path``.

    Columns, in any order: ``g_target_uS``, ``g_measured_uS``, ``time_s`` (since programming), and
    optionally ``cell`` (any text that names a cell) and ``read`` (any text that tells repeated
    reads of one cell at one time apart). Other columns are left alone, lines that begin with # and
    empty lines too.

    Raises:
        CimsimError: if the file cannot be read, a column is missing, a value is no number, negative
            or not finite, the numbers are of another unit, or there are too few of them.
    """
    header, lines, rows = _table(path)
    columns = {name: header.index(name) for name in (*REQUIRED, *OPTIONAL) if name in header}
    for name in REQUIRED:
        if name not in columns:
            raise CimsimError(f"{path}: there is no column {name}; {_found(name, header)}")
    for name in columns:
        if header.count(name) > 1:
            raise CimsimError(f"{path}: there are {header.count(name)} columns {name}; keep one")
    numbers = {
        name: _numbers(path, name, [row[columns[name]] for row in rows], lines) for name in REQUIRED
    }
    cell = None
    if "cell" in columns:
        names = [row[columns["cell"]].strip() for row in rows]
        if "" in names:
            place = lines[names.index("")]
            raise CimsimError(f"{path}:{place}: cell is empty; name the cell, or drop the column")
        cell = np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
    elif "read" in columns:
        raise CimsimError(f"{path}: the column read needs a column cell beside it")
    target, measured, time = (numbers[name] for name in REQUIRED)
    found = Measurements(path.name, target, measured, time, cell)
    _check_units(path, found)
    _check_numbers_of_cells(path, found)
    return found


def _table(path: Path) -> tuple[list[str], list[int], list[list[str]]]:
    """The header, and the number and the values of every line below it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            numbered = [
                (reader.line_num, row)
                for row in reader
                if row and any(row) and not row[0].lstrip().startswith("#")
            ]
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise CimsimError(f"{path}: is no CSV file of plain text") from None
    if not numbered:
        raise CimsimError(f"{path}: is empty; it must hold the columns {', '.join(REQUIRED)}")
    header = [name.strip() for name in numbered[0][1]]
    if len(header) == 1 and set(REQUIRED) & set(re.split(r"[;\t]", header[0])):
        raise CimsimError(
            f"{path}:{numbered[0][0]}: values must be separated by commas, not semicolons or tabs"
        )
    for number, row in numbered[1:]:
        if len(row) != len(header):
            raise CimsimError(f"{path}:{number}: has {len(row)} values for {len(header)} columns")
    if len(numbered) == 1:
        raise CimsimError(f"{path}: holds no measurement below its header")
    return header, [number for number, _ in numbered[1:]], [row for _, row in numbered[1:]]


def _found(name: str, header: list[str]) -> str:
    near = unknown("column", name, header)
    listed = f"the file has {', '.join(header)}"
    hint = near.partition("; ")[2]
    return f"{listed}; {hint}" if hint.startswith("did you mean") else listed


def _numbers(path: Path, name: str, texts: list[str], lines: list[int]) -> Numbers:
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        place, text = next(
            (line, text) for line, text in zip(lines, texts, strict=True) if not _is_number(text)
        )
        raise CimsimError(f"{path}:{place}: {name} is '{text.strip()}', not a number") from None
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more lines)" if len(wrong) > 1 else ""
        # Without its negative reads a cell near zero would look better than it is.
        negative = bool((values[wrong] < 0).any()) and bool(np.isfinite(values).all())
        advice = "take the offset of the read-out off" if negative else "leave such lines out"
        raise CimsimError(
            f"{path}:{lines[first]}: {name} is {texts[first].strip()}, but must be a finite number "
            f"of 0 or more{more}; {advice}"
        )
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_units(path: Path, found: Measurements) -> None:
    for name, values in (("g_target_uS", found.target_uS), ("g_measured_uS", found.measured_uS)):
        largest = values.max()
        if largest == 0:
            raise CimsimError(f"{path}: {name} is 0 everywhere")
        if largest < _LOOKS_LIKE_SIEMENS:
            raise CimsimError(
                f"{path}: the largest {name} is {largest:g}, which looks like siemens; write "
                "microsiemens (1 S = 1e6 uS)"
            )
        if largest > _LOOKS_LIKE_NANOSIEMENS:
            raise CimsimError(
                f"{path}: the largest {name} is {largest:g}, which looks like nanosiemens; write "
                "microsiemens (1000 nS = 1 uS)"
            )
    written = found.target_uS > 0.2 * found.target_uS.max()
    ratio = float(np.median(found.measured_uS[written] / found.target_uS[written]))
    if not 0.02 < ratio < 50:
        raise CimsimError(
            f"{path}: g_measured_uS is {ratio:.3g} times g_target_uS, as if they had different "
            "units; write both in microsiemens"
        )


def _check_numbers_of_cells(path: Path, found: Measurements) -> None:
    targets = np.unique(found.target_uS)
    if len(targets) < 2:
        raise CimsimError(
            f"{path}: holds one target only ({targets[0]:g} uS); measure at least two, the lowest "
            "and the highest that are to be used"
        )
    places = found.places()
    times = np.unique(found.time_s)
    for target, time in ((float(g), float(t)) for g in targets for t in times):
        rows = places.get((target, time), _NONE)
        cells = len(rows) if found.cell is None else len(np.unique(found.cell[rows]))
        if cells < FEWEST_CELLS:
            raise CimsimError(
                f"{path}: {cells} cells were measured at {target:g} uS after {time:g} s; a spread "
                f"needs at least {FEWEST_CELLS}; write one time_s for reads that belong together, "
                "or leave that time or target out"
            )
