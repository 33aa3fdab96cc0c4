"""Measured conductances from a CSV file, checked before anything is made of them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.profile.suggest import unknown

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

REQUIRED = ("g_target_uS", "g_measured_uS", "time_s")
OPTIONAL = ("cell", "read")
FEWEST_CELLS = 10
_LOOKS_LIKE_SIEMENS, _LOOKS_LIKE_NANOSIEMENS = 1e-2, 1e4


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
    numbers = {
        name: _numbers(path, name, [row[columns[name]] for row in rows], lines) for name in REQUIRED
    }
    cell = None
    if "cell" in columns:
        names = np.array([row[columns["cell"]].strip() for row in rows])
        cell = np.unique(names, return_inverse=True)[1].astype(np.int64)
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
            numbered = [
                (number, row)
                for number, row in enumerate(csv.reader(stream), start=1)
                if row and any(row) and not row[0].lstrip().startswith("#")
            ]
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise CimsimError(f"{path}: is no CSV file of plain text") from None
    if not numbered:
        raise CimsimError(f"{path}: is empty; it must hold the columns {', '.join(REQUIRED)}")
    header = [name.strip() for name in numbered[0][1]]
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
        raise CimsimError(
            f"{path}:{lines[first]}: {name} is {texts[first].strip()}, but must be a finite number "
            f"of 0 or more{more}; leave such lines out"
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
    targets, times = np.unique(found.target_uS), np.unique(found.time_s)
    if len(targets) < 2:
        raise CimsimError(
            f"{path}: holds one target only ({targets[0]:g} uS); measure at least two, the lowest "
            "and the highest that are to be used"
        )
    for time in times:
        for target in targets:
            here = (found.target_uS == target) & (found.time_s == time)
            cells = int(here.sum()) if found.cell is None else len(np.unique(found.cell[here]))
            if cells < FEWEST_CELLS:
                raise CimsimError(
                    f"{path}: {cells} cells were measured at {target:g} uS after {time:g} s; a "
                    f"spread needs at least {FEWEST_CELLS}, or leave that time or target out"
                )
