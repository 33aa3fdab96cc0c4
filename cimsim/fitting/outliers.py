"""Exclusion of stuck cells, outlying cells and outlying reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cimsim.fitting.bad_cells import Stuck, bad_cells
from cimsim.fitting.issues import enumerated
from cimsim.fitting.measurements import Measurements
from cimsim.fitting.robust import FALSE_ALARMS, step_of
from cimsim.fitting.stray_reads import stray_reads
from cimsim.fitting.types import Mask

_FEWEST_LEFT = 5
_ENDS = {"g_min": "at the low end", "g_max": "at the high end", "random": "in between"}


@dataclass(frozen=True)
class LeftOut:
    """A read that the estimates do not use.

    Attributes:
        line: line in the file.
        why: ``stuck`` for a stuck cell, ``cell`` for an outlying cell at one time, ``read`` for an
            outlier among several reads.
        target_uS, measured_uS, time_s: values of the read.
    """

    line: int
    why: str
    target_uS: float
    measured_uS: float
    time_s: float


class Screened(NamedTuple):
    """Measurements without outliers, the outliers, stuck cells, and notes."""

    kept: Measurements
    left_out: tuple[LeftOut, ...]
    stuck: tuple[Stuck, ...]
    notes: tuple[str, ...]


def screen(measurements: Measurements) -> Screened:
    """Separate stuck cells, outlying cells and outlying reads from the measurements.

    Reads are compared with other reads of their cell and time; then cells, by their means, with
    other cells of their target.
    """
    targets = np.unique(measurements.target_uS)
    steps = {
        float(g): step_of(measurements.measured_uS[measurements.target_uS == g]) for g in targets
    }
    rows, notes = stray_reads(measurements, steps)
    why = np.full(len(measurements.target_uS), "", dtype="<U5")
    why[rows] = "read"
    clean = np.flatnonzero(why == "")
    bad = bad_cells(measurements.where(why == ""), steps)
    why[clean[bad.other_rows]] = "cell"
    why[clean[bad.stuck_rows]] = "stuck"
    if measurements.cell is not None:
        # An outlying read of a stuck cell belongs to the stuck cell.
        stuck = np.unique(
            np.stack((measurements.target_uS, measurements.cell))[:, why == "stuck"], axis=1
        )
        for target, cell in stuck.T:
            why[(measurements.target_uS == target) & (measurements.cell == cell)] = "stuck"
    notes += _keep_enough(measurements, why)
    left_out = tuple(
        LeftOut(
            int(measurements.line[row]),
            str(why[row]),
            float(measurements.target_uS[row]),
            float(measurements.measured_uS[row]),
            float(measurements.time_s[row]),
        )
        for row in np.flatnonzero(why != "")
    )
    stuck_cells = bad.stuck if (why == "stuck").any() else ()
    described = _described(measurements, why, stuck_cells)
    return Screened(
        measurements.where(why == ""), left_out, stuck_cells, (*described, *notes, *bad.notes)
    )


def _keep_enough(measurements: Measurements, why: Mask) -> list[str]:
    """Clear ``why`` at targets that would have too few cells left; return notes."""
    notes = []
    for (target, _), rows in measurements.places().items():
        left = rows[why[rows] == ""]
        number = len(left) if measurements.cell is None else len(np.unique(measurements.cell[left]))
        if number < _FEWEST_LEFT and (why[rows] != "").any():
            why[measurements.target_uS == target] = ""
            notes.append(
                f"At {target:g} µS all cells except {number} are stuck or far from the others; "
                "these are too many to exclude and were kept."
            )
    return notes


def _described(measurements: Measurements, why: Mask, stuck: tuple[Stuck, ...]) -> list[str]:
    """Return a note with the numbers of stuck cells and outliers."""
    parts = []
    if stuck:
        ends = enumerated([f"{s.cells} {_ENDS[s.at]}, around {s.around_uS:.3g} µS" for s in stuck])
        number = sum(s.cells for s in stuck)
        verb = "is" if number == 1 else "are"
        parts.append(f"{number} of {measurements.cells} cells {verb} stuck ({ends})")
    for kind, one, many in (
        ("cell", "outlying read of a cell among others", "outlying reads of cells among others"),
        ("read", "outlying read among several of a cell", "outlying reads among several of a cell"),
    ):
        number = int((why == kind).sum())
        if number:
            parts.append(f"{number} {one if number == 1 else many}")
    if not parts:
        return []
    return [
        f"Outliers: {'; '.join(parts)}. By chance, a file without bad cells has such a cell or "
        f"read in {100 * FALSE_ALARMS:g} of 100 cases."
    ]
