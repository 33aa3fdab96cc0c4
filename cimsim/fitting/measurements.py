"""Measured conductances, one for each read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cimsim.fitting.types import Indices, Mask, Numbers

FEWEST_CELLS = 10


class Cells(NamedTuple):
    """Reads by cell, ascending: mean, number of reads, and sum of squared deviations."""

    cell: Indices
    mean_uS: Numbers
    reads: Numbers
    squares_uS2: Numbers


@dataclass(frozen=True)
class Measurements:
    """One row for each read, as arrays of equal length.

    Attributes:
        file: name of the file.
        target_uS, measured_uS, time_s: target, measured conductance, and time since programming.
        cell: index of the cell; None if the file has no names of cells.
        line: line of each read in the file.
        notes: sentences on assumptions in reading.
    """

    file: str
    target_uS: Numbers
    measured_uS: Numbers
    time_s: Numbers
    cell: Indices | None
    line: Indices
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Number of cells; without names, the number of rows at the earliest time."""
        if self.cell is not None:
            return len(np.unique(self.cell))
        return int((self.time_s == self.time_s.min()).sum())

    def places(self) -> dict[tuple[float, float], Indices]:
        """Return the rows of every combination of target and time, in ascending order."""
        targets, target = np.unique(self.target_uS, return_inverse=True)
        times, time = np.unique(self.time_s, return_inverse=True)
        # Sorted once, because a mask over all rows for every combination is slow.
        place = target * len(times) + time
        rows = np.argsort(place, kind="stable")
        codes, starts = np.unique(place[rows], return_index=True)
        names = (
            (float(targets[code // len(times)]), float(times[code % len(times)])) for code in codes
        )
        return dict(zip(names, np.split(rows, starts[1:]), strict=True))

    def by_cell(self, rows: Indices) -> Cells:
        """Return the reads in ``rows`` by cell; without names, each read is a separate cell."""
        values = self.measured_uS[rows]
        cell = np.arange(len(rows)) if self.cell is None else self.cell[rows]
        names, index = np.unique(cell, return_inverse=True)
        reads = np.bincount(index).astype(np.float64)
        mean = np.bincount(index, values) / reads
        squares = np.bincount(index, (values - mean[index]) ** 2).astype(np.float64)
        return Cells(names, mean, reads, squares)

    def where(self, rows: Mask) -> Measurements:
        """Return the measurements in the rows of a mask."""
        return replace(
            self,
            target_uS=self.target_uS[rows],
            measured_uS=self.measured_uS[rows],
            time_s=self.time_s[rows],
            cell=None if self.cell is None else self.cell[rows],
            line=self.line[rows],
        )
