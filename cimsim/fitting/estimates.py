"""What measurements say about a device: estimates with their standard errors.

For each target: the mean error and the spread right after programming; at each later time the mean
change since then and its spread; the spread of repeated reads. The variance that reads add to
single values is taken off the spread between cells, where reads were repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cimsim.fitting.measurements import Indices, Measurements, Numbers


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Change:
    """Mean change since programming and its spread, in uS, one estimate for each target."""

    time_s: float
    shift_uS: tuple[Estimate, ...]
    sigma_uS: tuple[Estimate, ...]


@dataclass(frozen=True)
class DeviceFit:
    """Everything that was estimated; tuples have one entry for each target.

    Attributes:
        targets_uS: ascending.
        fresh_s: the earliest time, at which programming is judged.
        bias_uS, sigma_uS: mean error and spread of programming.
        changes: what happened by each later time, ascending.
        read_at_uS, read_sigma_uS: mean conductance, ascending, and spread of reads there; None if
            no cell was read twice at one time.
        cells, reads: how many cells and rows there were.
        notes: what was not measured, in sentences.
    """

    targets_uS: tuple[float, ...]
    fresh_s: float
    bias_uS: tuple[Estimate, ...]
    sigma_uS: tuple[Estimate, ...]
    changes: tuple[Change, ...]
    read_at_uS: tuple[float, ...] | None
    read_sigma_uS: tuple[Estimate, ...] | None
    cells: int
    reads: int
    notes: tuple[str, ...]


class _Group(NamedTuple):
    """The cells of one target at one time: means over their reads (by cell, ascending), how many
    reads each, and the variance of one read with its degrees of freedom."""

    cell: Indices
    mean_uS: Numbers
    reads: Numbers
    read_variance: float
    freedom: float

    @property
    def of_means(self) -> float:
        """Variance that reads leave in the means over them."""
        return self.read_variance * float((1 / self.reads).mean()) if self.freedom else 0.0


def fit_device(found: Measurements) -> DeviceFit:
    """Estimates from ``found``.

    With cells that are named, the spread of drift is that of each cell's own change; without, it
    is the growth of the variance between cells, which knows nothing of changes that cancel.
    """
    targets, times = np.unique(found.target_uS), np.unique(found.time_s)
    groups = {(target, time): _group(found, target, time) for target in targets for time in times}
    fresh_s = times[0]
    fresh = [groups[target, fresh_s] for target in targets]
    programming = [
        _spread(group.mean_uS - target, group.of_means)
        for target, group in zip(targets, fresh, strict=True)
    ]
    changes = []
    for time in times[1:]:
        pairs = zip(fresh, (groups[target, time] for target in targets), strict=True)
        shift, sigma = zip(
            *(_change(before, now, found.cell is not None) for before, now in pairs), strict=True
        )
        changes.append(Change(float(time), shift, sigma))
    read_at, read_sigma = _reads(groups, targets, times)
    return DeviceFit(
        targets_uS=tuple(map(float, targets)),
        fresh_s=float(fresh_s),
        bias_uS=tuple(bias for bias, _ in programming),
        sigma_uS=tuple(sigma for _, sigma in programming),
        changes=tuple(changes),
        read_at_uS=read_at,
        read_sigma_uS=read_sigma,
        cells=found.cells,
        reads=len(found.target_uS),
        notes=tuple(_notes(found, len(times), read_sigma is not None)),
    )


def _group(found: Measurements, target: float, time: float) -> _Group:
    here = (found.target_uS == target) & (found.time_s == time)
    values = found.measured_uS[here]
    cell = np.arange(len(values)) if found.cell is None else found.cell[here]
    names, index = np.unique(cell, return_inverse=True)
    count = np.bincount(index).astype(np.float64)
    mean = np.bincount(index, values) / count
    freedom = float(len(values) - len(names))
    within = float(((values - mean[index]) ** 2).sum())
    return _Group(names, mean, count, within / freedom if freedom else 0.0, freedom)


def _spread(values: Numbers, read_variance: float) -> tuple[Estimate, Estimate]:
    """Mean and standard deviation of values that reads have made noisier."""
    variance = float(values.var(ddof=1))
    return Estimate(float(values.mean()), math.sqrt(variance / len(values))), _root(
        variance - read_variance, variance * math.sqrt(2 / (len(values) - 1))
    )


def _change(before: _Group, now: _Group, named: bool) -> tuple[Estimate, Estimate]:
    if named:
        both, at_first, at_now = np.intersect1d(before.cell, now.cell, return_indices=True)
        if len(both) > 1:
            moved = now.mean_uS[at_now] - before.mean_uS[at_first]
            return _spread(moved, before.of_means + now.of_means)
    (first, first_spread), (later, later_spread) = (
        _spread(group.mean_uS, group.of_means) for group in (before, now)
    )
    shift = Estimate(later.value - first.value, math.hypot(first.error, later.error))
    grown = later_spread.value**2 - first_spread.value**2
    error = math.hypot(
        2 * later_spread.value * later_spread.error, 2 * first_spread.value * first_spread.error
    )
    return shift, _root(grown, error)


def _root(variance: float, error: float) -> Estimate:
    """The root of an estimated variance; 0 where noise has made it negative."""
    value = math.sqrt(max(variance, 0.0))
    # Near zero the root has no linear error; what the variance may be is then the better bound.
    return Estimate(value, error / (2 * value) if value**2 > error else math.sqrt(error) / 2)


def _reads(
    groups: dict[tuple[float, float], _Group], targets: Numbers, times: Numbers
) -> tuple[tuple[float, ...] | None, tuple[Estimate, ...] | None]:
    """Spread of reads for each target, over all times, by mean conductance."""
    points = []
    for target in targets:
        of_target = [groups[target, time] for time in times]
        freedom = sum(group.freedom for group in of_target)
        if not freedom:
            continue
        variance = sum(group.read_variance * group.freedom for group in of_target) / freedom
        mean = sum(group.mean_uS.mean() * group.freedom for group in of_target) / freedom
        sigma = math.sqrt(variance)
        points.append((float(mean), Estimate(sigma, sigma / math.sqrt(2 * freedom))))
    if not points:
        return None, None
    points.sort()
    return tuple(at for at, _ in points), tuple(sigma for _, sigma in points)


def _notes(found: Measurements, times: int, reads: bool) -> list[str]:
    notes = []
    if times == 1:
        notes.append("Drift was not measured: there is one time only.")
    elif found.cell is None:
        notes.append(
            "Cells are not named, so the spread of drift is the growth of the spread between cells."
        )
    if not reads:
        notes.append(
            "Read noise was not measured: no cell was read twice at one time. It is part of the "
            "programming spread."
        )
    return notes
