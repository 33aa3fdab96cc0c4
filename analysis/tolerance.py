"""How much a trained model tolerates: the largest level at which it stays close to the digital one.

    s* = the first s at which  mean over chips of m(s)  is worse than  m_limit

``s`` runs from the end of the axis where the model does better to the other. ``m_limit`` is the
digital metric less ``within`` points of accuracy, or, for metrics that fall, the digital metric
times ``1 + within / 100``. Every level meets the same chips. A coarse grid is refined only where it
matters: around s* and around both ends of its interval.

The interval is the 95 % percentile bootstrap over chips: chips are drawn with replacement, all
levels of a chip together, and s* is found again. It says how s* may differ on other chips of the
same device, and nothing about other test data or trainings. Source: B. Efron, R. J. Tibshirani,
"An Introduction to the Bootstrap" (1993), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from cimsim.analysis.levels import Axis, Level, parse_axis
from cimsim.analysis.metric import Metric
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import Sweep
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    read_result,
    scores,
)
from cimsim.errors import CimsimError
from cimsim.profile import Profile
from cimsim.seeds import seed_for
from cimsim.training.run import Run

FOLDER = "tolerance"
_RESAMPLES = 2000
_COARSE = 5
_FINE = 32
_USUAL = {
    "noise": ("0", "4"),
    "time": ("1s", "10y"),
    "adc.bits": ("2", "10"),
    "dac.bits": ("2", "10"),
}

Measure: TypeAlias = Callable[[Sequence[float]], dict[float, list[float]]]
"""The metric of every chip at each of these levels, the chips in the same order."""


@dataclass(frozen=True)
class Span:
    """What is searched: from one level to another, on a scale on which the metric is taken to be
    straight between neighboring levels."""

    start: float
    stop: float
    whole: bool = False
    log: bool = False

    def place(self, level: float) -> float:
        """Where a level stands."""
        return math.log(level) if self.log else level

    def level(self, place: float) -> float:
        """The level there, in six digits; a whole number where only these are."""
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
        """How far apart neighboring levels may stay around what is looked for."""
        if self.whole:
            return 1.0
        return abs(self.place(self.stop) - self.place(self.start)) / _FINE


@dataclass(frozen=True)
class Knee:
    """What a search found.

    Attributes:
        levels: every level that was looked at, from the end where the model does better.
        scores: of each the metric of every chip.
        level: the last level within the limit, interpolated unless only whole numbers exist; None
            if not even the first is, or still the last.
        holds: whether the model is within the limit all the way.
        low, high: 95 % interval of ``level``, in the order of numbers; None where it reaches
            beyond what was searched, or for one chip.
    """

    levels: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    level: float | None
    holds: bool
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Tolerance(Result):
    """How much of ``axis`` one run tolerates; the fields of :class:`Knee`, and:

    Attributes:
        within: points of accuracy, or percent of a metric that falls.
        limit: the metric that the mean has to keep.
        start, stop: what was searched.
        points: a summary for each level that was looked at, in the order of ``start`` and ``stop``.
    """

    facts: Facts
    axis: str
    within: float
    limit: float
    start: float
    stop: float
    level: float | None
    holds: bool
    low: float | None
    high: float | None
    points: tuple[Summary, ...]

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each level, the heading first; times in seconds."""
        yield [self.axis, "chips", "mean", "std", "half_width", "worst", "within"]
        for p in self.points:
            inside = self.facts.measured.lost(self.limit, p.mean) <= 0
            yield [p.level, p.chips, p.mean, p.std, p.half_width, p.worst, inside]

    def sheet(self) -> Sheet:
        """One row for each level."""
        axis, metric = Axis(self.axis, ()), self.facts.measured
        rows = tuple(
            (
                axis.format(point.level),
                point.shown(metric),
                metric.shown(point.worst),
                "yes" if metric.lost(self.limit, point.mean) <= 0 else "no",
            )
            for point in self.points
        )
        headings = (axis.key, "mean ± 95 %", "worst chip", "within")
        return Sheet(self.facts.caption, headings, rows, range(4))

    @property
    def allowed(self) -> str:
        """The loss that is tolerated, with its unit."""
        if self.facts.measured.falls:
            return f"{self.within:g} %"
        return f"{self.within:g} point{'' if self.within == 1 else 's'}"

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        axis, metric = Axis(self.axis, ()), self.facts.measured
        unit = f" {metric.unit}" if metric.unit else ""
        close = f"within {self.allowed} of the digital "
        close += f"{metric.shown(self.facts.digital)}{unit}"
        start, stop = (
            axis.format(level) for level in (self.points[0].level, self.points[-1].level)
        )
        if self.holds:
            return f"{metric.title} stays {close} from {axis.key} {start} to {stop}"
        if self.level is None:
            return f"{metric.title} is not {close} anywhere from {axis.key} {start} to {stop}"
        found = f"{metric.title} stays {close} up to {axis.key} {axis.format(_short(self.level))}"
        if self.better_at_stop:
            found = found.replace("up to", "down to")
        if self.facts.chips == 1:
            return f"{found} (one chip; more of them give an interval)"
        ends = [
            f"beyond {edge}" if end is None else axis.format(_short(end))
            for end, edge in ((self.low, start), (self.high, stop))
        ]
        return f"{found} (95 % interval over {self.facts.counted}: {ends[0]} to {ends[1]})"

    @property
    def better_at_stop(self) -> bool:
        """Whether the model does better at the larger levels, as it does with more bits."""
        return self.facts.measured.lost(self.points[-1].mean, self.points[0].mean) > 0


def _short(level: float) -> Level:
    return level if isinstance(level, int) else float(f"{level:.3g}")


def search(measure: Measure, span: Span, limit: float, metric: Metric, name: str = "") -> Knee:
    """Find the last level within ``limit`` by looking closer and closer where it must be.

    Args:
        measure: evaluates levels; asked for all levels of a round at once.
        span: what to search.
        limit: the metric that the mean over chips has to keep.
        metric: says which way is worse.
        name: names the draws of the bootstrap.
    """
    found: dict[float, list[float]] = {}
    wanted = span.grid()
    while wanted:
        found |= measure(wanted)
        levels = sorted(found)
        if metric.lost(float(np.mean(found[levels[-1]])), float(np.mean(found[levels[0]]))) > 0:
            levels.reverse()
        table = np.array([found[level] for level in levels])
        places = np.array([span.place(level) for level in levels])
        losses = table - limit if metric.falls else limit - table  # above 0 is outside
        best = float(_knees(losses.mean(1)[None], places, span.whole)[0])
        low, high = _interval(losses, places, span.whole, name)
        near = {_gap(end, places) for end in (best, low, high) if math.isfinite(end)}
        wanted = []
        for gap in sorted(near - {-1}):
            if abs(places[gap + 1] - places[gap]) > span.resolution * (1 + 1e-9):
                wanted.append(span.level(float(places[gap] + places[gap + 1]) / 2))
        wanted = [level for level in wanted if level not in found]
    several = table.shape[1] > 1
    # A knee beyond the end where the model does better is -inf, beyond the other +inf.
    ends = [_level(end, span) if several else None for end in (low, high)]
    if levels[0] > levels[-1]:
        ends.reverse()
    return Knee(
        levels=tuple(levels),
        scores=tuple(map(tuple, table.tolist())),
        level=_level(best, span),
        holds=best == math.inf,
        low=ends[0],
        high=ends[1],
    )


def _level(place: float, span: Span) -> float | None:
    if not math.isfinite(place):
        return None
    if span.whole:
        return round(place)
    return math.exp(place) if span.log else place


def _knees(losses: np.ndarray, places: np.ndarray, whole: bool) -> np.ndarray:
    """For each row of ``losses [n, levels]`` the place where it first passes 0: ``-inf`` if it
    begins above it, ``inf`` if it never does. Only ``whole`` places are not interpolated."""
    outside = ~(losses <= 0)  # and so is what is no number
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
    losses: np.ndarray, places: np.ndarray, whole: bool, name: str
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the knee, from the better end to the worse, over resampled
    chips; that of the mean twice for one chip."""
    chips = losses.shape[1]
    draws = np.random.default_rng(seed_for("bootstrap", "tolerance", name))
    picked = draws.integers(chips, size=(_RESAMPLES, chips))
    means = losses[:, picked].mean(-1).T
    along = _knees(means, places, whole)
    order = np.sort(along if places[0] <= places[-1] else _flipped(along))
    last = _RESAMPLES - 1
    ends = order[[math.floor(0.025 * last), math.ceil(0.975 * last)]]
    low, high = ends if places[0] <= places[-1] else _flipped(ends)
    return float(low), float(high)


def _flipped(places: np.ndarray) -> np.ndarray:
    """Places in the order from the better end to the worse, where that is downwards."""
    return np.where(np.isinf(places), places, -places)


def _gap(place: float, places: np.ndarray) -> int:
    """The gap between neighboring levels in which a place lies; a level itself belongs to the gap
    behind it, the last level to none."""
    along = places if places[0] <= places[-1] else -places
    mark = place if places[0] <= places[-1] else -place
    index = int(np.searchsorted(along, mark, side="right")) - 1
    return index if index < len(places) - 1 else -1


def tolerance(
    run: Run,
    key: str,
    within: float = 1.0,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    start: str | None = None,
    stop: str | None = None,
) -> Tolerance:
    """How far ``run`` can go along the axis ``key``, see this module.

    The levels it looks at are cells of an ordinary sweep over the axis, and as such kept and shown
    by ``cimsim plot``.

    Args:
        within: points of accuracy, or percent of a metric that falls.
        start, stop: what to search, as levels are written; for noise, time and bits there are
            usual ones. Only whole numbers are tried where the profile takes no others.

    Raises:
        CimsimError: if the axis has no numbers, or as :func:`cimsim.analysis.sweep.sweep`.
    """
    if not (math.isfinite(within) and within >= 0):
        raise CimsimError(f"the loss that is tolerated must be 0 or more, not {within:g}")
    span = span_of(key, start, stop, evaluation.devices(run).profile)
    metric = evaluation.metric_of(run)
    digital = metric.of(*run.digital_score(evaluation.samples, evaluation.device))
    change = within / 100
    limit = digital * (1 + change) if metric.falls else digital - change
    sweeps: list[Sweep] = []
    looked: set[float] = set()

    def measure(levels: Sequence[float]) -> dict[float, list[float]]:
        looked.update(levels)
        sweeps[:] = [evaluation.sweep(run, Axis(key, tuple(sorted(looked))))]
        found = scores(sweeps[0])
        return {level: found[level] for level in levels}

    knee = search(measure, span, limit, metric, run.checkpoint_sha256)
    facts = facts_of(sweeps[0].plan, evaluation)
    pairs = sorted(zip(knee.levels, knee.scores, strict=True))
    points = tuple(summary(level, found, metric.falls) for level, found in pairs)
    return Tolerance(
        *(facts, key, within, limit, span.start, span.stop),
        *(knee.level, knee.holds, knee.low, knee.high, points),
    )


def span_of(key: str, start: str | None, stop: str | None, profile: Profile) -> Span:
    """What to search on the axis ``key``; from and to as levels are written.

    Raises:
        CimsimError: if an end is missing or no number, or both are the same.
    """
    usual = _USUAL.get(key, (None, None))
    ends = [usual[0] if start is None else start, usual[1] if stop is None else stop]
    if None in ends:
        raise CimsimError(f"say where to look on the axis {key}: --from LEVEL --to LEVEL")
    values = parse_axis(f"{key}={ends[0]},{ends[1]}").values
    if len(values) < 2 or not all(isinstance(value, int | float) for value in values):
        raise CimsimError(f"{key} from {ends[0]} to {ends[1]}: needs two different numbers")
    low, high = sorted(float(value) for value in values if isinstance(value, int | float))
    log = key == "time"
    if log and low <= 0:
        raise CimsimError("time is searched on a logarithmic scale; begin later than 0, such as 1s")
    whole = all(isinstance(value, int) for value in values) and not _takes(
        profile, Axis(key, ()), low + 0.5
    )
    return Span(int(low), int(high), whole=True) if whole else Span(low, high, log=log)


def _takes(profile: Profile, axis: Axis, level: Level) -> bool:
    try:
        axis.apply(profile, level)
    except CimsimError:
        return False
    return True


def read_tolerance(run: Path, axis: str) -> Tolerance:
    """What the run in the folder ``run`` tolerates of ``axis``.

    Raises:
        CimsimError: if that was never asked, or its file is damaged.
    """
    again = f"cimsim tolerance {run} --over {axis}"
    return read_result(run / FOLDER / f"{axis}.json", Tolerance, again)


def tolerated_axes(run: Path) -> list[str]:
    """The axes that were asked about for the run in the folder ``run``, sorted."""
    return sorted(path.stem for path in (run / FOLDER).glob("*.json"))
