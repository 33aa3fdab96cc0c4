"""Tolerance: the largest level at which a trained model stays close to the digital one.

The limit is the digital metric less ``within`` points of accuracy; for metrics that are not in
percent, it is ``within`` percent worse than the digital metric. Every level is evaluated on the
same chips. See :mod:`cimsim.analysis.sweeps.threshold` for the search and its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import TOLERANCE, Headline
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    option,
)
from cimsim.analysis.sweeps.axis import Axis, Level, parse_axis
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.analysis.sweeps.store import Sweep
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.figures.curves import Curve
    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.threshold import SearchRange
    from cimsim.profile import Profile

NAME = "tolerance"
AXIS = "axis"
"""Part of the figure, see :func:`cimsim.analysis.figures.canvas.part_of`."""
_MEASURES = {
    "noise": ("{} times", "the noise of the profile", "noise tolerated"),
    "adc.bits": ("{} bits", "in the ADCs", "ADC resolution needed"),
    "dac.bits": ("{} bits", "in the DACs", "DAC resolution needed"),
}
"""Levels of an axis in words: the level, what it is in a sentence, and as a title."""
_USUAL = {
    "noise": ("0", "4"),
    "time": ("1s", "10y"),
    "adc.bits": ("2", "10"),
    "dac.bits": ("2", "10"),
}


class ToleranceOptions(Options):
    """Find the largest level at which a run stays close to the digital model.

    For bits, find the smallest number. The level is computed from the mean over chips, with a 95 %
    interval; the grid of levels is refined around it. The trials are shared with
    `cimsim sweep` and kept in RUN/sweeps/AXIS/; the result is written to RUN/tolerance/.
    """

    over: str = option(
        ...,
        "Axis to search: noise, time, adc.bits or any dotted key.",
        metavar="AXIS",
        in_name=False,
    )
    within: float = option(
        1.0, "Allowed loss: points of accuracy, or percent of another metric.", ge=0
    )
    start: str | None = option(
        None,
        "First level of the range.",
        flag="--from",
        metavar="LEVEL",
        default_text="0 for noise, 1s, 2 bits",
        in_name=False,
    )
    stop: str | None = option(
        None,
        "Last level of the range.",
        flag="--to",
        metavar="LEVEL",
        default_text="4 for noise, 10y, 10 bits",
        in_name=False,
    )


@dataclass(frozen=True)
class Tolerance(StudyResult):
    """The largest level of ``axis`` that one subject tolerates.

    Attributes:
        within: points of accuracy, or percent of another metric.
        limit: the metric that the mean must keep.
        start, stop: the range that was searched.
        level, holds, low, high: as in :class:`cimsim.analysis.sweeps.threshold.Threshold`.
        points: a summary for each level that was evaluated, in the order of ``start`` and ``stop``.
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

    stem = "tolerance/axis"

    @property
    def place(self) -> str:
        """See :class:`Result`."""
        return f"{NAME}/{self.axis}"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each level, the heading first; times in seconds."""
        yield [self.axis, "chips", "mean", "std", "half_width", "worst", "within"]
        for p in self.points:
            inside = self.facts.measured.reaches(p.mean, self.limit)
            yield [p.level, p.chips, p.mean, p.std, p.half_width, p.worst, inside]

    def sheet(self) -> Sheet:
        """One row for each level."""
        axis, metric, points = Axis(self.axis, ()), self.facts.measured, self.points
        within = (metric.reaches(point.mean, self.limit) for point in points)
        columns = (
            Column(axis.key, tuple(axis.format(point.level) for point in points)),
            means("mean", points, metric),
            means("worst chip", (point.worst for point in points), metric),
            Column(f"within {self.allowed}", tuple("yes" if inside else "no" for inside in within)),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    @property
    def allowed(self) -> str:
        """The tolerated loss with its unit."""
        if self.facts.measured.unit != "%":
            return f"{self.within:g} %"
        return f"{self.within:g} point{'' if self.within == 1 else 's'}"

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        axis, metric = Axis(self.axis, ()), self.facts.measured
        unit = f" {metric.unit}" if metric.unit else ""
        close = f"within {self.allowed} of the digital "
        close += f"{metric.format(self.facts.digital)}{unit}"
        start, stop = (
            axis.format(level) for level in (self.points[0].level, self.points[-1].level)
        )
        if self.holds:
            return f"{metric.title} stays {close} from {axis.key} {start} to {stop}."
        if self.level is None:
            return f"{metric.title} is not {close} anywhere from {axis.key} {start} to {stop}."
        text = f"{metric.title} stays {close} up to {axis.key} {axis.format(_short(self.level))}"
        if self.better_at_stop:
            text = text.replace("up to", "down to")
        if self.facts.chips == 1:
            return f"{text} (one chip has no interval)."
        ends = [
            f"beyond {edge}" if end is None else axis.format(_short(end))
            for end, edge in ((self.low, start), (self.high, stop))
        ]
        return f"{text} (95 % interval over {self.facts.counted}: {ends[0]} to {ends[1]})."

    @property
    def headline(self) -> Headline | None:
        """How much noise, or how few bits, the model tolerates."""
        axis, facts = Axis(self.axis, ()), self.facts
        if self.axis not in _MEASURES or self.level is None or self.holds:
            return Headline(TOLERANCE, self.answer, weight=facts.weight / 2)
        number, measure, title = _MEASURES[self.axis]
        level = number.format(axis.format(_short(self.level)))
        bound = "at least" if self.better_at_stop else "up to"
        between = ""
        if self.low is not None and self.high is not None and facts.chips > 1:
            ends = (axis.format(_short(end)) for end in (self.low, self.high))
            between = f"95 % interval {' to '.join(ends)}; "
        sentence = (
            f"It loses at most {self.allowed} with {bound} {level} {measure} "
            f"({between}{facts.in_words})."
        )
        what = f"{title} (at most {self.allowed} lost)"
        return Headline(TOLERANCE, sentence, level, what, facts.weight)

    @property
    def better_at_stop(self) -> bool:
        """Whether the model does better at the larger levels, as it does with more bits."""
        return self.facts.measured.lost(self.points[-1].mean, self.points[0].mean) > 0

    def options(self) -> ToleranceOptions:
        """See :class:`Result`."""
        axis = Axis(self.axis, ())
        start, stop = (axis.cli_text(level) for level in (self.start, self.stop))
        return ToleranceOptions(over=self.axis, within=self.within, start=start, stop=stop)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        axis, metric = Axis(self.axis, ()), self.facts.measured
        texts = [
            f"{axis.title}: {axis.format(p.level)}\n{metric.title}: {p.with_unit(metric)}"
            for p in self.points
        ]
        return {figures.canvas.part_of(0, "mean", AXIS): texts}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.curves.layout_of([self._curve])

    def draw(self, panels: Panels) -> None:
        """Draw the metric over all evaluated levels, the limit, and the last level within it with
        its 95 % interval."""
        facts, metric, color = self.facts, self.facts.measured, figures.theme.color(1)
        axis = Axis(self.axis, tuple(point.level for point in self.points))
        figures.curves.draw_on(panels, [self._curve], axis, metric, of=AXIS)
        (axes,), limit = panels.axes, metric.factor * self.limit
        axes.axhline(limit, color=color, linewidth=1.2, linestyle="-.")
        text = f"limit {metric.with_unit(self.limit)}"
        if self.level is not None:
            low = self.start if self.low is None else self.low
            high = self.stop if self.high is None else self.high
            if facts.chips > 1:
                axes.axvspan(low, high, color=color, alpha=0.18, linewidth=0)
            axes.plot(self.level, limit, "D", color=color, markersize=8, zorder=5)
            level = axis.format(float(f"{self.level:.3g}"))
            text = f"last level within {self.allowed}: {level}{facts.interval}; {text}"
        panels.title(f"{facts.where}{facts.aged}\n{text}")

    @property
    def _curve(self) -> Curve:
        facts = self.facts
        return figures.curves.Curve(f"{facts.where}{facts.aged}", facts.digital, self.points)


def _short(level: float) -> Level:
    return level if isinstance(level, int) else float(f"{level:.3g}")


def tolerance(
    subject: Subject,
    key: str,
    within: float = 1.0,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    start: str | None = None,
    stop: str | None = None,
) -> Tolerance:
    """Find the largest level of the axis ``key`` that ``subject`` tolerates; see this module.

    The evaluated levels are trials of an ordinary sweep over the axis, which ``cimsim plot`` draws.

    Args:
        subject: what to evaluate.
        key: key of the axis.
        within: points of accuracy, or percent of another metric.
        evaluation: on which chips.
        start, stop: ends of the range, as levels are written; noise, time and bits have defaults.
            Only whole numbers are evaluated where the profile accepts no others.

    Raises:
        CimsimError: if the loss or the axis cannot be used, or as
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    from cimsim.analysis.sweeps.threshold import search

    metric = evaluation.metric_of(subject)
    metric.require_loss(within, "the tolerated loss")
    span = range_of(key, start, stop, evaluation.assignment(subject).profile)
    digital = evaluation.digital(subject)
    limit = metric.worse_by(digital, within)
    sweeps: list[Sweep] = []
    evaluated: set[float] = set()

    def measure(levels: Sequence[float]) -> dict[float, list[float]]:
        evaluated.update(levels)
        sweeps[:] = [evaluation.sweep(subject, Axis(key, tuple(sorted(evaluated))))]
        values = sweeps[0].values()
        return {level: values[level] for level in levels}

    threshold = search(measure, span, limit, metric, subject.fingerprint)
    pairs = sorted(zip(threshold.levels, threshold.scores, strict=True))
    return Tolerance(
        facts=facts_of(sweeps[0].plan),
        axis=key,
        within=within,
        limit=limit,
        start=span.start,
        stop=span.stop,
        level=threshold.level,
        holds=threshold.holds,
        low=threshold.low,
        high=threshold.high,
        points=tuple(summary(level, values, metric.falls) for level, values in pairs),
    )


def range_of(key: str, start: str | None, stop: str | None, profile: Profile) -> SearchRange:
    """The range to search on the axis ``key``, with ends as levels are written.

    Raises:
        CimsimError: if an end is missing or no number, or both are the same.
    """
    from cimsim.analysis.sweeps.threshold import SearchRange

    if "=" in key:
        raise CimsimError(
            f"'{key}' has levels, but a tolerance is searched between two levels: use "
            f"'{key.partition('=')[0]}' with --from LEVEL --to LEVEL"
        )
    usual = _USUAL.get(key, (None, None))
    ends = [usual[0] if start is None else start, usual[1] if stop is None else stop]
    if None in ends:
        raise CimsimError(f"the axis {key} has no default range; add --from LEVEL --to LEVEL")
    values = parse_axis(f"{key}={ends[0]},{ends[1]}").values
    if len(values) < 2 or not all(isinstance(value, int | float) for value in values):
        raise CimsimError(f"{key} from {ends[0]} to {ends[1]}: needs two different numbers")
    low, high = sorted(float(value) for value in values if isinstance(value, int | float))
    log = key == "time"
    if log and low <= 0:
        raise CimsimError("time is searched on a logarithmic scale; start later than 0, such as 1s")
    whole = all(isinstance(value, int) for value in values) and not _accepts(
        profile, Axis(key, ()), low + 0.5
    )
    if whole:
        return SearchRange(int(low), int(high), whole=True)
    return SearchRange(low, high, log=log)


def _accepts(profile: Profile, axis: Axis, level: Level) -> bool:
    try:
        axis.apply(profile, level)
    except CimsimError:
        return False
    return True


def _run(
    subjects: Sequence[Subject], evaluation: Evaluation, options: ToleranceOptions
) -> Tolerance:
    own = options.within, evaluation, options.start, options.stop
    return tolerance(subjects[0], options.over, *own)


STUDY = Study(
    NAME,
    Tolerance,
    "What is tolerated",
    "Metric over the searched range",
    "--over noise",
    options=ToleranceOptions,
    run=_run,
    files=f"{NAME}/*.json",
)
