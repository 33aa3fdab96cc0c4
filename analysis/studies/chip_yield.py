"""Yield: the share of chips whose metric reaches a threshold.

    share = k / n,    k of n chips at least as good as the threshold

with the 95 % interval of E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), for the share among all
chips that could be made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import YIELD, Headline
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    option,
    short_number,
)
from cimsim.analysis.sweeps.axis import Axis, Level
from cimsim.analysis.sweeps.stats import means
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject
    from cimsim.profile import Profile

NAME = "yield"
PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
CHIPS = 100
_THIS = "this"


class YieldOptions(Options):
    """Evaluate a run on many chips and report the share that reaches a threshold.

    The share has a 95 % interval. Results are written to RUN/yield/. Finished trials are kept: run
    the same command again to resume, with more chips to add to them, or with another threshold.
    """

    above: float | None = option(
        None, "Minimum metric for a chip to pass, such as 90 for 90 % accuracy."
    )
    below: float | None = option(
        None, "Maximum metric for a chip to pass, for metrics where lower is better."
    )


@dataclass(frozen=True)
class PassRate:
    """The share of ``count`` in ``total``, with its 95 % Wilson interval ``low`` to ``high``."""

    count: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class ChipYield(StudyResult):
    """The share of one subject's chips that reach a threshold.

    Attributes:
        threshold: the metric that a chip must reach, or must not exceed if lower is better.
        passing: the share that does.
        values: the metric of every chip, in the order of their seeds.
        percentiles: the value of each of :data:`PERCENTILES` of the chips.
    """

    facts: Facts
    threshold: float
    passing: PassRate
    values: tuple[float, ...]
    percentiles: tuple[tuple[float, float], ...]

    stem = "yield/yield"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each chip, the heading first."""
        yield ["chip", self.facts.metric, "passes"]
        for chip, value in enumerate(self.values):
            yield [chip, value, self.facts.measured.reaches(value, self.threshold)]

    def sheet(self) -> Sheet:
        """The percentiles of the chips."""
        metric = self.facts.measured
        percents, values = zip(*self.percentiles, strict=True)
        columns = (
            Column("percentile of the chips", tuple(f"{percent:g}" for percent in percents)),
            means(metric.title.lower(), values, metric),
        )
        return Sheet(self.facts.caption, columns)

    def shares(self) -> list[tuple[float, PassRate]]:
        """The share that passes with each chip's metric as the threshold, from the least."""
        reaches, total = self.facts.measured.reaches, len(self.values)
        return [
            (x, rate_of(sum(reaches(value, x) for value in self.values), total))
            for x in sorted(filter(math.isfinite, self.values))
        ]

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        metric, rate = self.facts.measured, self.passing
        unit = f" {metric.unit}" if metric.unit else ""
        return (
            f"{rate.count} of {rate.total} chips ({100 * rate.share:.1f} %, 95 % interval "
            f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %) "
            f"{'has' if rate.count == 1 else 'have'} {metric.title.lower()} "
            f"{'of at most' if metric.falls else 'of at least'} "
            f"{metric.factor * self.threshold:.6g}{unit}."
        )

    @property
    def headline(self) -> Headline:
        """The share of the chips that reach the threshold."""
        facts, metric, rate = self.facts, self.facts.measured, self.passing
        limit = f"{metric.factor * self.threshold:.6g} {metric.unit}".rstrip()
        reach = f"{'have at most' if metric.falls else 'reach'} {limit}"
        sentence = (
            f"{rate.count} of {rate.total} chips {reach} (95 % interval of the yield "
            f"{100 * rate.low:.0f} to {100 * rate.high:.0f} %; {facts.in_words})."
        )
        number = f"{100 * rate.share:.3g} %"
        return Headline(YIELD, sentence, number, f"of the chips {reach}", facts.weight)

    def options(self) -> YieldOptions:
        """See :class:`Result`."""
        metric = self.facts.measured
        threshold = short_number(self.threshold, metric.factor)
        return YieldOptions(below=threshold) if metric.falls else YieldOptions(above=threshold)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        return {
            NAME: [
                f"threshold {metric.with_unit(value)}\n{100 * rate.share:.1f} % of the chips "
                f"({100 * rate.low:.1f} to {100 * rate.high:.1f} %)"
                for value, rate in self.shares()
            ]
        }

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.Layout(10.0, 4.4, columns=2)

    def draw(self, panels: Panels) -> None:
        """Draw the distribution of the chips on the left, and on the right the share that would
        pass at any threshold (steps named (``gid``) ``yield``) with its 95 % interval; the
        threshold as a line through both."""
        from matplotlib.ticker import MaxNLocator

        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric, pairs = facts.measured, self.shares()
        values, rates = [metric.factor * x for x, _ in pairs], [rate for _, rate in pairs]
        total, limit = len(self.values), metric.factor * self.threshold
        left, right = panels.axes
        left.hist(values, bins=min(30, max(5, round(math.sqrt(total)))), color=theme.color(0))
        left.set_ylabel("Chips")
        left.yaxis.set_major_locator(MaxNLocator(integer=True))
        color = theme.color(0)
        step: Literal["pre", "post"] = "post" if metric.falls else "pre"
        passing = [100 * rate.share for rate in rates]
        right.step(values, passing, where=step, color=color, linewidth=2, gid=NAME)
        right.fill_between(
            values,
            [100 * rate.low for rate in rates],
            [100 * rate.high for rate in rates],
            step=step,
            color=color,
            alpha=0.2,
            linewidth=0,
            label="95 % interval",
        )
        right.set_ylabel(f"Chips {'at or below' if metric.falls else 'at or above'} it (%)")
        right.set_ylim(-2, 102)
        mark = theme.color(1)
        right.plot(limit, 100 * self.passing.share, "o", color=mark, markersize=7, zorder=4)
        for axes in (left, right):
            axes.axvline(limit, color=theme.paper(), linewidth=3.2)  # it is seen on bars, too
            axes.axvline(limit, color=mark, linewidth=1.6, label="threshold")
            digital = metric.factor * facts.digital
            axes.axvline(digital, color=theme.quiet(), linestyle=":", label="digital")
            axes.set_xlabel(metric.label)
            canvas.style(axes)
        panels.legend(right)
        lost = total - len(values)
        beyond = f"; {lost} chips without a finite number are not drawn" if lost else ""
        panels.title(
            f"{facts.where}{facts.aged}: {self.passing.count} of {self.passing.total} chips pass"
            f"{beyond}",
        )


@dataclass(frozen=True)
class SingleLevelAxis(Axis):
    """An axis with one level, which changes nothing and needs no name."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile itself."""
        return profile

    def named(self, level: Level) -> str:
        """Nothing."""
        return ""


def chip_yield(
    subject: Subject,
    evaluation: Evaluation = Evaluation(chips=CHIPS),  # noqa: B008
    *,
    above: float | None = None,
    below: float | None = None,
) -> ChipYield:
    """Evaluate ``subject`` on many chips, and count those that reach a threshold.

    Args:
        subject: what to evaluate.
        evaluation: on which chips.
        above: the minimum metric, in the printed unit (percent for accuracy).
        below: the maximum, where lower is better; one of the two.

    Raises:
        CimsimError: if the threshold is missing or on the wrong side of the metric, or as
            :meth:`cimsim.analysis.sweeps.metric.Metric.from_printed` and
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    import numpy as np

    number = above if below is None else below
    if number is None:
        raise CimsimError("there is no threshold; pass above, or below if lower is better")
    metric = evaluation.metric_of(subject)
    if metric.falls != (above is None):
        side = "below" if metric.falls else "above"
        raise CimsimError(
            f"a chip passes with {metric.name} {side} a threshold; use --{side} {number:g}"
        )
    threshold = metric.from_printed(number, "the threshold")
    sweep = evaluation.sweep(subject, SingleLevelAxis(NAME, (_THIS,)))
    values = sweep.values()[_THIS]
    count = sum(metric.reaches(value, threshold) for value in values)
    # Nothing is interpolated between chips: every percentile is the value of one of them.
    at = np.percentile(np.array(values), PERCENTILES, method="inverted_cdf").tolist()
    percentiles = tuple(zip(PERCENTILES, at, strict=True))
    rate = rate_of(count, len(values))
    return ChipYield(facts_of(sweep.plan), threshold, rate, tuple(values), percentiles)


def rate_of(count: int, total: int) -> PassRate:
    """Compute the share and its 95 % Wilson interval.

    >>> rate = rate_of(81, 263)  # Newcombe, Statistics in Medicine 17, 857 (1998), table I
    >>> round(rate.low, 4), round(rate.high, 4)
    (0.2553, 0.3662)
    """
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return PassRate(count, total, count / total, float(interval.low), float(interval.high))


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: YieldOptions) -> ChipYield:
    if (options.above is None) == (options.below is None):
        raise CimsimError(
            f"{'no threshold' if options.above is None else 'two thresholds'}: use --above, such "
            "as --above 90 for accuracy, or --below for a metric for which lower is better"
        )
    return chip_yield(subjects[0], evaluation, above=options.above, below=options.below)


STUDY = Study(
    NAME,
    ChipYield,
    "Yield",
    "Distribution of the chips",
    "--above 90",
    options=YieldOptions,
    run=_run,
    function="chip_yield",  # yield is a word of Python
    defaults={"chips": CHIPS},
)
