"""Estimates of a device's parameters from measurements, with standard errors.

For each target these are the mean error and the spread right after programming; at each later time
the mean change since then and its spread; and the spread of repeated reads. The variance added by
reads is subtracted from the spread between cells if there are any repeated reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from cimsim.fitting.bad_cells import Stuck
from cimsim.fitting.measurements import FEWEST_CELLS, Measurements
from cimsim.fitting.outliers import LeftOut, screen
from cimsim.fitting.types import Indices, Numbers
from cimsim.units import format_duration

# A smaller effect on the spread is not reported.
_NEARLY = 0.95
# A correlation of changes with programming errors counts beyond this many standard errors.
_CORRELATED = 3.0
# Relative change of a mean conductance up to which the read noise is that of one conductance.
_SIMILAR = 0.1
# A spread that shrinks by fewer standard errors is not reported.
_SHRINKS = 2.0


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
    """All estimates; tuples have one entry for each target.

    Attributes:
        targets_uS: targets, ascending.
        fresh_s: earliest time, at which programming is evaluated.
        bias_uS, sigma_uS: mean error and spread of programming.
        changes: changes until each later time, ascending.
        read_at_uS, read_sigma_uS: mean conductances, ascending, and spread of reads there, for the
            targets with enough repeated reads, several for a target that drifts far; None if there
            are none.
        cells, reads: number of cells and of reads.
        notes: sentences on assumptions in reading, on excluded and missing data, and on limits of
            the simulation.
        stuck: fractions of stuck cells, which are not part of the spreads.
        left_out: outlying reads, which no estimate uses.
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
    stuck: tuple[Stuck, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class _Group(NamedTuple):
    """Cells of one target at one time, ascending.

    Means over the reads of each cell, numbers of reads, and the variance of one read with its
    degrees of freedom.
    """

    cell: Indices
    mean_uS: Numbers
    reads: Numbers
    read_variance: float
    freedom: float


class _Moved(NamedTuple):
    """Change of the cells of one target until a later time.

    Its mean, its variance (None unless enough cells were measured both times), the growth of the
    variance between cells, and the correlation with the error of programming in standard errors.
    """

    mean: Estimate
    variance: Estimate | None
    growth: Estimate
    correlation: float


class _Read(NamedTuple):
    """Spread of reads at a mean conductance."""

    at_uS: float
    sigma_uS: Estimate


_Groups = dict[tuple[float, float], _Group]


def fit_device(measurements: Measurements, keep_outliers: bool = False) -> DeviceFit:
    """Estimate a device from measurements.

    Stuck cells, outlying cells and outlying reads are excluded first; ``notes`` reports the effect.

    Args:
        measurements: the measurements.
        keep_outliers: use all reads; outliers are only counted.
    """
    screened = screen(measurements)
    everything = _estimated(measurements)
    if keep_outliers or not screened.left_out:
        kept = ["All of them were kept as part of the spreads."] if screened.left_out else []
        notes = (*measurements.notes, *screened.notes, *kept, *everything.notes)
        return replace(everything, notes=notes)
    fit = _estimated(screened.kept)
    effect = _effect(fit, everything)
    return replace(
        fit,
        cells=measurements.cells,
        reads=len(measurements.target_uS),
        notes=(*measurements.notes, *screened.notes, *effect, *fit.notes),
        stuck=screened.stuck,
        left_out=screened.left_out,
    )


def _effect(fit: DeviceFit, everything: DeviceFit) -> list[str]:
    """Return a note on the estimates with outliers, where they change most."""
    parts = []
    for what, at, wide, narrow in (
        ("spread", fit.targets_uS, everything.sigma_uS, fit.sigma_uS),
        ("read noise", fit.read_at_uS, everything.read_sigma_uS, fit.read_sigma_uS),
    ):
        if at is None or wide is None or narrow is None or len(wide) != len(narrow):
            continue
        ratios = [w.value / n.value if n.value else 0.0 for w, n in zip(wide, narrow, strict=True)]
        worst = max(range(len(at)), key=ratios.__getitem__)
        parts.append(
            f"the {what} at {at[worst]:.4g} µS would be {wide[worst].value:.3g} µS, not "
            f"{narrow[worst].value:.3g} µS"
        )
    if not parts:
        return []
    return [f"These were excluded; with them (--keep-outliers) {', and '.join(parts)}."]


def _estimated(measurements: Measurements) -> DeviceFit:
    """Estimate from all reads in ``measurements``.

    With names of cells, the spread of drift is that of the changes of single cells. Without names,
    it is the growth of the variance between cells, which misses changes that cancel, and the error
    of the mean change is overestimated because cells cannot be paired. With names, too, it is the
    growth if changes are correlated with the errors in the first reads: tabulated drift is
    independent of them, so that variances add up.
    """
    named = measurements.cell is not None
    groups = {place: _group(measurements, rows) for place, rows in measurements.places().items()}
    targets, times = (sorted(set(part)) for part in zip(*groups, strict=True))
    read = _reads(groups, targets, times)
    noise = {place: _variance_of_means(group, read) for place, group in groups.items()}
    fresh = [(target, times[0]) for target in targets]
    errors = [groups[place].mean_uS - place[0] for place in fresh]
    bias = tuple(map(_mean, errors))
    sigma = tuple(
        _root(_variance(error, noise[place])) for error, place in zip(errors, fresh, strict=True)
    )
    moved = {
        (target, time): _moved(
            groups[first], groups[target, time], noise[first], noise[target, time], named
        )
        for first, target in zip(fresh, targets, strict=True)
        for time in times[1:]
    }
    correlated = any(_correlated([moved[target, time] for target in targets]) for time in times[1:])
    changes = []
    for time in times[1:]:
        shift = tuple(moved[target, time].mean for target in targets)
        spread = tuple(_root(_added(moved[target, time], correlated)) for target in targets)
        changes.append(Change(time, shift, spread))
    notes = _notes_on_reads(groups, targets, times, len(read), named and not correlated)
    notes = [*_notes_on_times(named, len(times)), *notes]
    notes += _note_on_hidden(
        [place[0] for place, s in zip(fresh, sigma, strict=True) if not s.value and noise[place]]
    )
    notes += _notes_on_growth(moved, dict(zip(targets, sigma, strict=True)), correlated)
    if (groups[fresh[0]].mean_uS < targets[0]).any():
        notes += notes_on_lowest(targets[0], bias[0].value, sigma[0].value)
    return DeviceFit(
        targets_uS=tuple(targets),
        fresh_s=times[0],
        bias_uS=bias,
        sigma_uS=sigma,
        changes=tuple(changes),
        read_at_uS=tuple(point.at_uS for point in read) or None,
        read_sigma_uS=tuple(point.sigma_uS for point in read) or None,
        cells=measurements.cells,
        reads=len(measurements.target_uS),
        notes=tuple(notes),
    )


def _group(measurements: Measurements, rows: Indices) -> _Group:
    cells = measurements.by_cell(rows)
    freedom = float(cells.reads.sum()) - len(cells.cell)
    within = float(cells.squares_uS2.sum())
    return _Group(
        cells.cell, cells.mean_uS, cells.reads, within / freedom if freedom else 0.0, freedom
    )


def _mean(values: Numbers) -> Estimate:
    return Estimate(float(values.mean()), math.sqrt(float(values.var(ddof=1)) / len(values)))


def _variance(values: Numbers, of_reads: float) -> Estimate:
    """Return the variance of values without that of reads; it may be negative by chance."""
    variance = float(values.var(ddof=1))
    return Estimate(variance - of_reads, variance * math.sqrt(2 / (len(values) - 1)))


def _root(variance: Estimate) -> Estimate:
    """Return the root of an estimated variance; 0 if the estimate is negative."""
    value = math.sqrt(max(variance.value, 0.0))
    # Near zero, error propagation through the root fails; use the error of the variance as a bound.
    if value**2 > variance.error:
        return Estimate(value, variance.error / (2 * value))
    return Estimate(value, math.sqrt(variance.error) / 2)


def _moved(
    before: _Group, now: _Group, noise_before: float, noise_now: float, named: bool
) -> _Moved:
    """Return the change between two times, by single cells if enough were measured both times."""
    if named:
        both, at_first, at_now = np.intersect1d(before.cell, now.cell, return_indices=True)
        if len(both) >= FEWEST_CELLS:
            cells = before.mean_uS[at_first], now.mean_uS[at_now]
            return _moved_cells(*cells, noise_before, noise_now)
    first, later = _mean(before.mean_uS), _mean(now.mean_uS)
    narrow, wide = _variance(before.mean_uS, noise_before), _variance(now.mean_uS, noise_now)
    return _Moved(_difference(later, first), None, _difference(wide, narrow), 0.0)


def _moved_cells(first: Numbers, later: Numbers, noise_before: float, noise_now: float) -> _Moved:
    """Return the change of single cells from ``first`` to ``later``, in uS.

    The variance of reads is in both the first value and the change, with opposite signs.
    """
    change, freedom = later - first, len(first) - 1
    (of_first, joint), (_, of_later) = np.cov(first, later)
    growth = Estimate(
        float(of_later - of_first) - noise_now + noise_before,
        math.sqrt(2 / freedom * max(0.0, of_later**2 + of_first**2 - 2 * joint**2)),
    )
    error = math.sqrt(of_first * float(change.var(ddof=1)) / freedom)
    correlation = float(joint - of_first + noise_before) / error if error else 0.0
    variance = _variance(change, noise_before + noise_now)
    return _Moved(_mean(change), variance, growth, correlation)


def _correlated(moved: list[_Moved]) -> bool:
    """Return whether changes until one time are correlated with programming errors."""
    total = sum(each.correlation for each in moved)
    return abs(total) > _CORRELATED * math.sqrt(len(moved))


def _added(moved: _Moved, correlated: bool) -> Estimate:
    """Return the variance that an independent change adds to that between cells."""
    return moved.growth if correlated or moved.variance is None else moved.variance


def _difference(of: Estimate, less: Estimate) -> Estimate:
    return Estimate(of.value - less.value, math.hypot(of.error, less.error))


def _reads(groups: _Groups, targets: list[float], times: list[float]) -> list[_Read]:
    """Return the spread of reads by mean conductance: of each target over all times, separately
    where drift has changed the mean."""
    pooled: dict[float, tuple[float, float]] = {}
    span_uS = targets[-1]
    parts = (_similar([groups[target, time] for time in times], span_uS) for target in targets)
    for of_target in chain.from_iterable(parts):
        freedom = _freedom(of_target)
        if freedom < FEWEST_CELLS:
            continue
        squares = sum(group.read_variance * group.freedom for group in of_target)
        mean = sum(group.mean_uS.mean() * group.freedom for group in of_target) / freedom
        # Rounded to the digits of the profile; targets that a coarse readout cannot distinguish are
        # one point.
        at = float(f"{mean:.6g}")
        earlier_squares, earlier_freedom = pooled.get(at, (0.0, 0.0))
        pooled[at] = squares + earlier_squares, freedom + earlier_freedom
    points = []
    for at, (squares, freedom) in sorted(pooled.items()):
        sigma = math.sqrt(squares / freedom)
        points.append(_Read(at, Estimate(sigma, sigma / math.sqrt(2 * freedom))))
    return points


def _freedom(groups: list[_Group]) -> float:
    return sum(group.freedom for group in groups)


def _similar(groups: list[_Group], span_uS: float) -> list[list[_Group]]:
    """Split the groups of one target, ascending in time, into parts of similar mean conductance
    with enough repeated reads each.

    Means are similar up to 10 %, or up to 1 % of the highest target ``span_uS``.
    """
    parts: list[list[_Group]] = [[]]
    for group in groups:
        if _freedom(parts[-1]) >= FEWEST_CELLS:
            before, now = parts[-1][0].mean_uS.mean(), group.mean_uS.mean()
            if abs(now - before) > _SIMILAR * max(abs(before), span_uS / 10):
                parts.append([])
        parts[-1].append(group)
    if len(parts) > 1 and _freedom(parts[-1]) < FEWEST_CELLS:
        parts[-2] += parts.pop()
    return parts


def _variance_of_means(group: _Group, read: list[_Read]) -> float:
    """Return the variance of reads in the means over them.

    It is computed from the repeated reads of the group, or, if they are few, from reads at a
    similar conductance at other times or targets.
    """
    variance = group.read_variance
    if group.freedom < FEWEST_CELLS:
        if not read:
            return 0.0
        at, sigma = [p.at_uS for p in read], [p.sigma_uS.value for p in read]
        variance = float(np.interp(group.mean_uS.mean(), at, sigma)) ** 2
    return variance * float((1 / group.reads).mean())


def _notes_on_times(named: bool, times: int) -> list[str]:
    if times == 1:
        return ["Drift was not measured: there is only one time."]
    if not named:
        return [
            "Cells have no names, so the spread of drift is the growth of the spread between cells."
        ]
    return []


def _notes_on_reads(
    groups: _Groups, targets: list[float], times: list[float], reads: int, by_change: bool
) -> list[str]:
    """Return notes on targets without read noise; ``reads`` is the number of conductances with it,
    and ``by_change`` states whether the spread of drift is that of the changes of single cells."""
    if not reads:
        drifts = by_change and len(times) > 1
        drift = ", and twice its variance is part of the drift" if drifts else ""
        return [
            f"Read noise was not measured: fewer than {FEWEST_CELLS} reads repeat a read of the "
            f"same cell and time. It is part of the programming spread{drift}."
        ]
    of_targets = ([groups[target, time] for time in times] for target in targets)
    measured = sum(_freedom(of_target) >= FEWEST_CELLS for of_target in of_targets)
    if measured < len(targets):
        return [
            f"Read noise was measured at {measured} of {len(targets)} targets; the others have "
            f"fewer than {FEWEST_CELLS} repeated reads."
        ]
    if reads < len(targets):
        return [
            f"Read noise was measured at {reads} conductances for {len(targets)} targets, because "
            "some targets have equal means."
        ]
    return []


def _note_on_hidden(targets: list[float]) -> list[str]:
    """Return a note on targets whose spread is smaller than that of the reads."""
    if not targets:
        return []
    at = ", ".join(f"{target:g}" for target in targets)
    return [
        f"The programming spread at {at} µS is smaller than that of the reads, and 0 in the "
        "profile. Check for invalid reads (a number that an instrument writes for a missing value, "
        "a first read that always deviates), or read each cell more often."
    ]


def _notes_on_growth(
    moved: dict[tuple[float, float], _Moved], sigma_uS: dict[float, Estimate], correlated: bool
) -> list[str]:
    """Return notes on changes that depend on programming errors, and on spreads that shrink."""
    notes = []
    if correlated:
        notes.append(
            "The changes of cells are correlated with their errors in the first reads, but "
            "tabulated drift is independent of them: its spread is the growth of the spread "
            "between cells, so that the simulation has the measured spread at each age."
        )
    shrunk = {
        place: math.sqrt(max(0.0, sigma_uS[place[0]].value ** 2 + each.growth.value))
        for place, each in moved.items()
        if _added(each, correlated) is each.growth
        and sigma_uS[place[0]].value
        and each.growth.value < -_SHRINKS * each.growth.error
    }
    if shrunk:
        (target, time), now = min(
            shrunk.items(), key=lambda item: item[1] / sigma_uS[item[0][0]].value
        )
        at = ", ".join(f"{target:g}" for target in sorted({place[0] for place in shrunk}))
        notes.append(
            f"The spread between cells shrinks with age at {at} µS (from "
            f"{sigma_uS[target].value:.3g} to {now:.3g} µS at {target:g} µS after "
            f"{format_duration(time)}), but "
            "tabulated drift only adds spread: simulated cells keep the programming spread there."
        )
    return notes


def notes_on_lowest(target_uS: float, bias_uS: float, sigma_uS: float) -> list[str]:
    """Return a note on the effect of the lower bound of 0 on cells at the lowest target.

    For X = max(0, N(b, s^2)), with a = b / s and the normal distribution's Phi and phi:
    E X = b Phi(a) + s phi(a) and E X^2 = (b^2 + s^2) Phi(a) + b s phi(a).
    """
    if not sigma_uS:
        return []
    mean_uS = target_uS + bias_uS
    a = mean_uS / sigma_uS
    share, density = math.erfc(-a / math.sqrt(2)) / 2, math.exp(-(a**2) / 2)
    density /= math.sqrt(2 * math.pi)
    mean = mean_uS * share + sigma_uS * density
    square = (mean_uS**2 + sigma_uS**2) * share + mean_uS * sigma_uS * density
    spread = math.sqrt(max(square - mean**2, 0.0))
    if spread > _NEARLY * sigma_uS:
        return []
    return [
        "Simulated conductances are at least 0, which truncates normal errors at the lowest "
        f"target, {target_uS:g} µS: the simulation has a bias of {mean - target_uS:.2g} and a "
        f"spread of {spread:.2g} µS at that target, but {bias_uS:.2g} and {sigma_uS:.2g} µS "
        "were measured."
    ]
