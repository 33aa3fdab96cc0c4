"""Detection of outlying reads among those of the same cell and time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import stdtrit

from cimsim.fitting.measurements import FEWEST_CELLS, Measurements
from cimsim.fitting.robust import FALSE_ALARMS, FEW, MAD, START, heavy_limit, tails_of
from cimsim.fitting.types import Indices, Mask, Numbers

_MOST_ROUNDS = 50
# One or two cells with jumps are bad cells; more are a property of the device.
_FEWEST_JUMPING, _SHARE_JUMPING = 3, 0.01
_NO_CHANCE = 1e-3


def stray_reads(measurements: Measurements, steps: dict[float, float]) -> tuple[Indices, list[str]]:
    """Find the rows whose values are outliers among the reads of the same cell and time.

    Args:
        measurements: measurements; cells without names have no repeated reads.
        steps: resolution of the readout at each target.

    Returns:
        The rows, and notes on targets with too many such reads to be outliers.
    """
    none: Indices = np.empty(0, dtype=np.int64)
    if measurements.cell is None:
        return none, []
    rows_of: dict[float, list[Indices]] = {}
    for (target, _), rows in measurements.places().items():
        rows_of.setdefault(target, []).append(rows)
    groups = {target: _Repeated.of(measurements, rows) for target, rows in rows_of.items()}
    groups = {g: group for g, group in groups.items() if len(group.rows) >= 2 * FEWEST_CELLS}
    if not groups:
        return none, []
    tests = sum(len(group.rows) for group in groups.values())
    differences = np.concatenate([
        group.differences() / max(np.median(np.abs(group.differences())), steps[g] / 2, 1e-300)
        for g, group in groups.items()
    ])  # fmt: skip
    tails = tails_of(differences)
    stray, notes = [none], []
    for target, group in groups.items():
        far = group.apart(FALSE_ALARMS / 2 / tests, steps[target], tails)
        if len(far) > max(1, FEW * len(group.rows)):
            cells = len(np.unique(measurements.cell[far]))
            notes.append(
                f"At {target:g} µS {len(far)} of {len(group.rows)} reads, in {cells} cells, are "
                "far from the others of their cell; these are too many to be outliers (possibly "
                "telegraph noise) and were kept, but read noise is simulated as normal."
            )
            continue
        stray.append(far)
    rows = np.concatenate(stray)
    jumping = _in_cells_that_jump(measurements, rows)
    if jumping.any():
        cells = len(np.unique(measurements.cell[rows[jumping]]))
        notes.append(
            f"{int(jumping.sum())} reads are far from the others of their cell, several in each of "
            f"{cells} cells; these are not outliers (possibly telegraph noise) and were kept, but "
            "read noise is simulated as normal."
        )
    return rows[~jumping], notes


def _in_cells_that_jump(measurements: Measurements, rows: Indices) -> Mask:
    """Return a mask of outlying reads in cells with several of them.

    The mask is empty if there are no more such cells than for independent outliers.
    """
    assert measurements.cell is not None
    every = np.unique(np.stack((measurements.target_uS, measurements.cell)), axis=1).shape[1]
    places = np.stack((measurements.target_uS[rows], measurements.cell[rows]))
    _, index, counts = np.unique(places, axis=1, return_inverse=True, return_counts=True)
    several = counts > 1
    again = int((counts - 1).sum())
    by_chance = len(rows) ** 2 / (2 * every)
    enough = int(several.sum()) >= _FEWEST_JUMPING and several.sum() > _SHARE_JUMPING * every
    if enough and stats.poisson.sf(again - 1, by_chance) < _NO_CHANCE:
        return np.asarray(several[index.reshape(-1)])
    return np.zeros(len(rows), dtype=np.bool_)


class _Repeated(NamedTuple):
    """Repeated reads of one target: their rows, values, and groups of the same cell and time."""

    rows: Indices
    uS: Numbers
    group: Indices

    @classmethod
    def of(cls, measurements: Measurements, places: list[Indices]) -> _Repeated:
        """Select the repeated reads in ``places``, in the order of the file within each group."""
        assert measurements.cell is not None
        rows = np.concatenate(places)
        place = np.repeat(np.arange(len(places)), [len(part) for part in places])
        key = place * (int(measurements.cell.max()) + 1) + measurements.cell[rows]
        _, group, counts = np.unique(key, return_inverse=True, return_counts=True)
        several = counts[group] > 1
        rows, group = rows[several], group[several]
        order = np.lexsort((rows, group))
        rows, group = rows[order], np.unique(group[order], return_inverse=True)[1]
        return cls(rows, measurements.measured_uS[rows], group)

    def differences(self) -> Numbers:
        """Return differences of reads half a group apart; neighbors would miss slow noise."""
        counts = np.bincount(self.group)
        starts = np.cumsum(counts) - counts
        inside = np.arange(len(self.rows)) - starts[self.group]
        shift = np.maximum(counts // 2, 1)[self.group]
        other = starts[self.group] + (inside + shift) % counts[self.group]
        # In a group of two both differences are the same.
        once = (counts[self.group] > 2) | (inside == 0)
        return np.asarray((self.uS - self.uS[other])[once])

    def apart(self, chance: float, step: float, tails: float) -> Indices:
        """Return the rows that are too far from the median of their group."""
        counts = np.bincount(self.group)
        size = counts[self.group]
        ascending = self.uS[np.lexsort((self.uS, self.group))]
        starts = np.cumsum(counts) - counts
        medians = (ascending[starts + (counts - 1) // 2] + ascending[starts + counts // 2]) / 2
        # Two reads have the same distance from their median, so their difference is used.
        factor = np.where(size == 2, math.sqrt(2), np.sqrt((size - 1) / size))
        deviation = np.abs(self.uS - medians[self.group]) * factor
        center = float(np.median(self.uS))
        robust = float(np.median(np.abs(self.differences()))) / math.sqrt(2) / MAD
        spread = max(robust, step / 2)
        if math.isfinite(tails):
            far = deviation > spread * heavy_limit(chance, tails)
            return self._without_the_better_of_two(far, size, center)
        far = deviation > START * spread
        for _ in range(_MOST_ROUNDS):
            near = ~far
            kept = np.bincount(self.group[near], minlength=len(counts))
            sums = np.bincount(self.group[near], self.uS[near], minlength=len(counts))
            squares = (self.uS - (sums / np.maximum(kept, 1))[self.group])[near] ** 2
            freedom = int(near.sum() - (kept > 0).sum())
            if freedom < FEWEST_CELLS:
                break
            spread = max(math.sqrt(float(squares.sum()) / freedom), step / 2)
            now = deviation > -stdtrit(freedom, chance / 2) * spread
            if (now == far).all():
                break
            far = now
        return self._without_the_better_of_two(far, size, center)

    def _without_the_better_of_two(self, far: Mask, size: Indices, center: float) -> Indices:
        """Return the rows of outliers; of two differing reads, the one further from all others."""
        pairs = np.flatnonzero(far & (size == 2))
        for first in pairs[::2]:
            second = first + 1
            better = (
                first if abs(self.uS[first] - center) < abs(self.uS[second] - center) else second
            )
            far[better] = False
        return self.rows[far]
