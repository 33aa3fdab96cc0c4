"""Detection of stuck cells and of cells that differ from the others of their target."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from cimsim.fitting.measurements import Measurements
from cimsim.fitting.robust import FALSE_ALARMS, FEW, MAD, START, apart, tails_of
from cimsim.fitting.types import Indices, Mask, Numbers
from cimsim.units import format_duration

_FEWEST_LEFT = 5
# An outlying cell at one time is stuck if at all other times its distance has at most this
# probability for a normal value.
_LOOSE = 1 / 400
_CONFIDENCE = 0.95

End = Literal["g_min", "g_max", "random"]


@dataclass(frozen=True)
class Stuck:
    """Cells with a fixed conductance, independent of the target.

    Attributes:
        at: ``g_min``, ``g_max``, or ``random`` for conductances in between.
        cells: number of stuck cells.
        of: number of cells among which stuck cells would be detected.
        rate, low, high: fraction of stuck cells and its 95 % interval (Clopper and Pearson).
        around_uS: median conductance of the stuck cells.
    """

    at: End
    cells: int
    of: int
    rate: float
    low: float
    high: float
    around_uS: float


class BadCells(NamedTuple):
    """Rows of stuck cells, rows of cells that are outliers only at some times, and notes."""

    stuck_rows: Indices
    other_rows: Indices
    stuck: tuple[Stuck, ...]
    notes: list[str]


class _Block(NamedTuple):
    """Cells of one target: names, and means ``[cells, times]`` (NaN if not read)."""

    target_uS: float
    cell: Indices
    mean_uS: Numbers
    step: float


def bad_cells(measurements: Measurements, steps: dict[float, float]) -> BadCells:
    """Find cells that are outliers among the cells of their target.

    Cells of a target are compared with each other at each time, and so are their changes since the
    first time. A cell that is an outlier at every time is stuck: at ``g_min`` if it is never above
    the cells of the lowest target, at ``g_max`` if it is never below those of the highest.

    Args:
        measurements: measurements; without names of cells, every read is a separate cell.
        steps: resolution of the readout at each target.
    """
    # Each read of a cell without a name is a separate cell.
    cell = (
        np.arange(len(measurements.target_uS)) if measurements.cell is None else measurements.cell
    )
    times = np.unique(measurements.time_s)
    blocks = [_block(measurements, cell, times, target, step) for target, step in steps.items()]
    chance = FALSE_ALARMS / 2 / max(1, sum(int(np.isfinite(b.mean_uS).sum()) for b in blocks))
    tails = [tails_of(_pooled(block.mean_uS[:, t] for block in blocks)) for t in range(len(times))]
    low, high = _bound(blocks[0], +1), _bound(blocks[-1], -1)
    notes: list[str] = []
    stuck_cells: dict[End, list[tuple[int, float]]] = {"g_min": [], "g_max": [], "random": []}
    stuck_rows, other_rows = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    left: list[Numbers] = []
    for index, block in enumerate(blocks):
        stuck, out, more = _of_target(block, chance, tails, low, high)
        notes += more
        rows = np.flatnonzero(measurements.target_uS == block.target_uS)
        for end, mask in stuck.items():
            names = block.cell[mask]
            stuck_rows.append(rows[np.isin(cell[rows], names)])
            fresh = block.mean_uS[mask & np.isfinite(block.mean_uS[:, 0]), 0]
            stuck_cells[end] += [(index, float(value)) for value in fresh]
        mean = block.mean_uS.copy()
        mean[np.any(list(stuck.values()), axis=0)] = np.nan
        mean[out] = np.nan
        if measurements.cell is not None:
            changed, more = _changed(block._replace(mean_uS=mean), times, chance)
            notes += more
            out |= changed
        for column, time in enumerate(times):
            now = rows[measurements.time_s[rows] == time]
            other_rows.append(now[np.isin(cell[now], block.cell[out[:, column]])])
        left.append(mean[:, 0])
    rates = tuple(
        _rate(end, cells, blocks, left, chance, tails[0]) for end, cells in stuck_cells.items()
        if cells
    )  # fmt: skip
    return BadCells(np.concatenate(stuck_rows), np.concatenate(other_rows), rates, notes)


def _block(
    measurements: Measurements, cell: Indices, times: Numbers, target: float, step: float
) -> _Block:
    rows = np.flatnonzero(measurements.target_uS == target)
    names, index = np.unique(cell[rows], return_inverse=True)
    place = index * len(times) + np.searchsorted(times, measurements.time_s[rows])
    size = len(names) * len(times)
    counts = np.bincount(place, minlength=size)
    sums = np.bincount(place, measurements.measured_uS[rows], minlength=size)
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return _Block(target, names, mean.reshape(len(names), len(times)), step)


def _pooled(groups: Iterable[Numbers]) -> Numbers:
    """Return deviations from each group's median in units of its median absolute deviation."""
    parts = [np.empty(0)]
    for values in groups:
        known = values[np.isfinite(values)]
        deviation = known - np.median(known)
        scale = float(np.median(np.abs(deviation)))
        if scale > 0:
            parts.append(deviation / scale)
    return np.concatenate(parts)


def _bound(block: _Block, sign: int) -> Numbers:
    """Return the upper (+1) or lower (-1) bound of a target's cells at each time."""
    middle = np.nanmedian(block.mean_uS, axis=0)
    spread = np.nanmedian(np.abs(block.mean_uS - middle), axis=0) / MAD
    return np.asarray(middle + sign * START * np.maximum(spread, block.step / 2))


def _apart_at_each_time(block: _Block, chance: float, tails: list[float]) -> Mask:
    """Return a mask of outliers ``[cells, times]``; False for cells that were not read."""
    far = np.zeros(block.mean_uS.shape, dtype=np.bool_)
    for column, tail in enumerate(tails):
        known = np.isfinite(block.mean_uS[:, column])
        values = block.mean_uS[known, column]
        far[known, column] = apart(values, chance, block.step, tail)
    return far


def _of_target(
    block: _Block, chance: float, tails: list[float], low: Numbers, high: Numbers
) -> tuple[dict[End, Mask], Mask, list[str]]:
    """Return masks of stuck cells by end, of other outliers ``[cells, times]``, and notes."""
    known = np.isfinite(block.mean_uS)
    far = _apart_at_each_time(block, chance, tails)
    loose = _apart_at_each_time(block, _LOOSE, [math.inf] * len(tails))
    always: Mask = np.asarray(far.any(axis=1) & (loose | far | ~known).all(axis=1))
    at_low: Mask = np.asarray(always & ((block.mean_uS <= low) | ~known).all(axis=1))
    at_high: Mask = np.asarray(always & ~at_low & ((block.mean_uS >= high) | ~known).all(axis=1))
    between: Mask = np.asarray(always & ~at_low & ~at_high)
    # Later values of these cells are judged by their change.
    out = far & ~always[:, np.newaxis]
    out[:, 1:] = False
    notes = []
    for mask, what in ((between, ""), (out[:, 0], " when fresh")):
        if int(mask.sum()) > max(1, FEW * len(block.cell)):
            notes.append(_many(block.target_uS, int(mask.sum()), len(block.cell), what))
            mask[:] = False
    return {"g_min": at_low, "g_max": at_high, "random": between}, out, notes


def _changed(block: _Block, times: Numbers, chance: float) -> tuple[Mask, list[str]]:
    """Return a mask of cells whose change since the first time is an outlier, and notes."""
    out = np.zeros(block.mean_uS.shape, dtype=np.bool_)
    notes = []
    for column in range(1, len(times)):
        change = block.mean_uS[:, column] - block.mean_uS[:, 0]
        known = np.flatnonzero(np.isfinite(change))
        if len(known) <= _FEWEST_LEFT:
            continue
        tails = tails_of(_pooled([change]))
        far = known[apart(change[known], chance, block.step, tails)]
        if len(far) > max(1, FEW * len(known)):
            age = format_duration(float(times[column]))
            notes.append(_many(block.target_uS, len(far), len(known), f" in their change by {age}"))
        else:
            out[far, column] = True
    return out, notes


def _many(target_uS: float, number: int, of: int, what: str) -> str:
    return (
        f"At {target_uS:g} µS {number} of {of} cells are far from the others{what}; these are too "
        "many to be outliers and were kept, but the spread is simulated as normal."
    )


def _rate(
    end: End,
    cells: list[tuple[int, float]],
    blocks: list[_Block],
    left: list[Numbers],
    chance: float,
    tails: float,
) -> Stuck:
    """Estimate the fraction of stuck cells among the cells of targets that reveal them."""
    level = float(np.median([value for _, value in cells]))
    of = 0
    for index, block in enumerate(blocks):
        good = left[index][np.isfinite(left[index])]
        seen = end == "random" or any(place == index for place, _ in cells)
        seen = seen or bool(apart(np.append(good, level), chance, block.step, tails)[-1])
        of += int(np.isfinite(block.mean_uS[:, 0]).sum()) if seen else 0
    number = len(cells)
    tail = (1 - _CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, number, of - number + 1))
    high = float(stats.beta.isf(tail, number + 1, of - number)) if number < of else 1.0
    return Stuck(end, number, of, number / of, low, high, level)
