"""Search for the largest level of an axis at which a metric stays within a limit.

    s* = the first s at which  mean over chips of m(s)  is worse than  m_limit

``s`` runs from the end of the axis where the model does better to the other. A coarse grid is
refined only around s* and around both ends of its interval.

The interval is the 95 % percentile bootstrap over chips: chips are drawn with replacement, all
levels of a chip together, and s* is computed again. It covers other chips of the same profile, not
other test data or trainings. Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap"
(1993), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from cimsim.analysis.sweeps.metric import Metric, rounding
from cimsim.seeds import seed_for

_RESAMPLES = 2000
_COARSE = 5
_FINE = 32

Measure: TypeAlias = Callable[[Sequence[float]], dict[float, list[float]]]
"""Function that returns the metric of every chip at each of these levels, the chips in the same
order."""


@dataclass(frozen=True)
class SearchRange:
    """The range to search, from one level to another, on a scale on which the metric is
    interpolated linearly between neighboring levels."""

    start: float
    stop: float
    whole: bool = False
    log: bool = False

    def place(self, level: float) -> float:
        """The position of a level on the scale."""
        return math.log(level) if self.log else level

    def level(self, place: float) -> float:
        """The level at a position, in six digits; a whole number if only these exist."""
        if self.whole:
            return round(place)
        return float(f"{math.exp(place) if self.log else place:.6g}")

    def grid(self) -> list[float]:
        """The ends and some levels between them."""
        steps = np.linspace(self.place(self.start), self.place(self.stop), _COARSE)
        inner = [] if self.whole else [self.level(place) for place in steps[1:-1].tolist()]
        return [self.start, *inner, self.stop]

    @property
    def resolution(self) -> float:
        """The largest distance of neighboring levels around the threshold."""
        if self.whole:
            return 1.0
        return abs(self.place(self.stop) - self.place(self.start)) / _FINE


@dataclass(frozen=True)
class Threshold:
    """The result of a search.

    Attributes:
        levels: every level that was evaluated, from the end where the model does better.
        scores: the metric of every chip at each of them.
        level: the last level within the limit, interpolated unless only whole numbers exist; None
            if already the first is outside, or the last is within.
        holds: whether the model is within the limit over the whole range.
        low, high: 95 % interval of ``level``, in the order of numbers; None where it extends
            beyond the range, or for one chip.
    """

    levels: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    level: float | None
    holds: bool
    low: float | None
    high: float | None


def search(
    measure: Measure, span: SearchRange, limit: float, metric: Metric, name: str = ""
) -> Threshold:
    """Find the last level within ``limit`` by refining the grid where it must be.

    Args:
        measure: evaluates levels, all levels of a round at once.
        span: the range to search.
        limit: the metric that the mean over chips must keep.
        metric: decides in which direction the metric is worse.
        name: names the draws of the bootstrap.
    """
    scores: dict[float, list[float]] = {}
    missing = span.grid()
    while missing:
        scores |= measure(missing)
        levels = sorted(scores)
        if metric.lost(float(np.mean(scores[levels[-1]])), float(np.mean(scores[levels[0]]))) > 0:
            levels.reverse()
        table = np.array([scores[level] for level in levels])
        places = np.array([span.place(level) for level in levels])
        losses = table - limit if metric.falls else limit - table  # above 0 is outside
        find = partial(_thresholds, places=places, whole=span.whole, none=rounding(limit))
        best = float(find(losses.mean(1)[None])[0])
        low, high = _interval(losses, places, find, name)
        near = {_gap(end, places) for end in (best, low, high) if math.isfinite(end)}
        missing = []
        for gap in sorted(near - {-1}):
            if abs(places[gap + 1] - places[gap]) > span.resolution * (1 + 1e-9):
                missing.append(span.level(float(places[gap] + places[gap + 1]) / 2))
        missing = [level for level in missing if level not in scores]
    several = table.shape[1] > 1
    # Beyond the end where the model is better, a threshold is -inf; beyond the other end, +inf.
    ends = [_level(end, span) if several else None for end in (low, high)]
    if levels[0] > levels[-1]:
        ends.reverse()
    return Threshold(
        levels=tuple(levels),
        scores=tuple(map(tuple, table.tolist())),
        level=_level(best, span),
        holds=best == math.inf,
        low=ends[0],
        high=ends[1],
    )


def _level(place: float, span: SearchRange) -> float | None:
    if not math.isfinite(place):
        return None
    if span.whole:
        return round(place)
    return math.exp(place) if span.log else place


def _thresholds(losses: np.ndarray, places: np.ndarray, whole: bool, none: float) -> np.ndarray:
    """For each row of ``losses [n, levels]`` the place where it first exceeds 0: ``-inf`` if it
    starts above 0, ``inf`` if it never exceeds it. ``whole`` places are not interpolated; losses up
    to ``none`` are 0."""
    losses = np.where(np.abs(losses) <= none, 0.0, losses)
    outside = ~(losses <= 0)  # NaN is outside
    first = outside.argmax(1)
    rows = np.arange(len(losses))
    before, after = losses[rows, first - 1], losses[rows, first]
    with np.errstate(divide="ignore", invalid="ignore"):  # of rows without a crossing
        straight = np.isfinite(after) & (not whole)
        share = np.where(straight, before / (before - after), 0.0)
    crossing = places[first - 1] + share * (places[first] - places[first - 1])
    crossing = np.where(first == 0, -np.inf, crossing)
    return np.where(outside.any(1), crossing, np.inf)


def _interval(
    losses: np.ndarray,
    places: np.ndarray,
    find: Callable[[np.ndarray], np.ndarray],
    name: str,
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the threshold, which ``find`` returns for rows of losses, over
    resampled chips, from the better end to the worse; the threshold itself twice for one chip."""
    chips = losses.shape[1]
    draws = np.random.default_rng(seed_for("bootstrap", "tolerance", name))
    picked = draws.integers(chips, size=(_RESAMPLES, chips))
    means = losses[:, picked].mean(-1).T
    along = find(means)
    order = np.sort(along if places[0] <= places[-1] else _flipped(along))
    last = _RESAMPLES - 1
    ends = order[[math.floor(0.025 * last), math.ceil(0.975 * last)]]
    low, high = ends if places[0] <= places[-1] else _flipped(ends)
    return float(low), float(high)


def _flipped(places: np.ndarray) -> np.ndarray:
    """Places from the better end to the worse, if that is downwards."""
    return np.where(np.isinf(places), places, -places)


def _gap(place: float, places: np.ndarray) -> int:
    """The gap between neighboring levels that contains a place; a level itself belongs to the gap
    after it, the last level to none."""
    along = places if places[0] <= places[-1] else -places
    mark = place if places[0] <= places[-1] else -place
    index = int(np.searchsorted(along, mark, side="right")) - 1
    return index if index < len(places) - 1 else -1
