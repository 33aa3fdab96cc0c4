"""Yield: which share of the chips does well enough.

    share = k / n,    k of n chips at least as good as the threshold

with the 95 % interval of E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), for a share of all chips
that could be made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest

from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.plot import COLORS
from cimsim.analysis.store import YIELD
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
from cimsim.training.run import Run

NAME = "yield"
PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
CHIPS = 100
_THIS = "this"


@dataclass(frozen=True)
class Share:
    """A share ``count`` of ``total``, with its 95 % Wilson interval from ``low`` to ``high``."""

    count: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class ChipYield(Result):
    """How many chips of one run do well enough.

    Attributes:
        threshold: the metric that a chip must reach, or must not exceed if less is better.
        passing: the share that does.
        values: the metric of every chip, in the order of their seeds.
        percentiles: of the chips, for each of :data:`PERCENTILES` the value.
    """

    facts: Facts
    threshold: float
    passing: Share
    values: tuple[float, ...]
    percentiles: tuple[tuple[float, float], ...]

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each chip, the heading first."""
        yield ["chip", self.facts.metric, "passes"]
        falls = self.facts.measured.falls
        for chip, value in enumerate(self.values):
            yield [chip, value, passes(value, self.threshold, falls)]

    def sheet(self) -> Sheet:
        """The percentiles of the chips."""
        metric = self.facts.measured
        rows = tuple((f"{percent:g}", metric.shown(value)) for percent, value in self.percentiles)
        headings = ("percentile of the chips", metric.title.lower())
        return Sheet(self.facts.caption, headings, rows, range(2))

    def shares(self) -> list[tuple[float, Share]]:
        """For the metric of each chip as the threshold, from the least, the share that passes."""
        falls, there = self.facts.measured.falls, sorted(filter(math.isfinite, self.values))
        total = len(self.values)
        return [
            (x, share_of(sum(passes(value, x, falls) for value in self.values), total))
            for x in there
        ]

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        metric, share = self.facts.measured, self.passing
        unit = f" {metric.unit}" if metric.unit else ""
        return (
            f"{share.count} of {share.total} chips ({100 * share.share:.1f} %, 95 % interval "
            f"{100 * share.low:.1f} to {100 * share.high:.1f} %) "
            f"{'has' if share.count == 1 else 'have'} {metric.title.lower()} "
            f"{'of at most' if metric.falls else 'of at least'} "
            f"{metric.factor * self.threshold:.6g}{unit}"
        )


@dataclass(frozen=True)
class AsItIs(Axis):
    """The device as it is, on many chips."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile itself."""
        return profile


def chip_yield(
    run: Run,
    evaluation: Evaluation = Evaluation(chips=CHIPS),  # noqa: B008
    *,
    above: float | None = None,
    below: float | None = None,
) -> ChipYield:
    """Evaluate ``run`` on many chips, and count those that do well enough.

    Args:
        above: the least metric that will do, as it is shown (percent of accuracy).
        below: the largest, where less is better; one of the two.

    Raises:
        CimsimError: if the threshold is missing, not finite or on the wrong side of the metric, or
            as :func:`cimsim.analysis.sweep.sweep`.
    """
    shown = above if below is None else below
    if shown is None or not math.isfinite(shown):
        raise CimsimError(f"a chip cannot be held against {shown}; give a number")
    metric = evaluation.metric_of(run)
    if metric.falls != (above is None):
        raise CimsimError(
            f"a chip passes with {metric.name} {'below' if metric.falls else 'above'} a threshold: "
            f"--{'below' if metric.falls else 'above'} {shown:g}"
        )
    sweep = evaluation.sweep(run, AsItIs(YIELD, (_THIS,)))
    facts = facts_of(sweep.plan, evaluation)
    values, threshold = scores(sweep)[_THIS], shown / metric.factor
    count = sum(passes(value, threshold, metric.falls) for value in values)
    # Nothing is interpolated between chips: every percentile is that of one of them.
    at = np.percentile(np.array(values), PERCENTILES, method="inverted_cdf").tolist()
    pairs = tuple(zip(PERCENTILES, at, strict=True))
    return ChipYield(facts, threshold, share_of(count, len(values)), tuple(values), pairs)


def passes(value: float, threshold: float, falls: bool) -> bool:
    """Whether a chip with this metric does well enough; NaN never does."""
    return value <= threshold if falls else value >= threshold


def share_of(count: int, total: int) -> Share:
    """The share and its 95 % Wilson interval.

    >>> found = share_of(81, 263)  # Newcombe, Statistics in Medicine 17, 857 (1998), table I
    >>> round(found.low, 4), round(found.high, 4)
    (0.2553, 0.3662)
    """
    interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return Share(count, total, count / total, float(interval.low), float(interval.high))


def draw_yield(found: ChipYield) -> Figure:
    """Left how the chips are distributed, right which share would pass at any threshold (steps with
    the name (``gid``) ``yield``), with its 95 % interval; the threshold as a line through both."""
    facts, metric = found.facts, found.facts.measured
    pairs = found.shares()
    there, shares = metric.factor * np.array([x for x, _ in pairs]), [s for _, s in pairs]
    total = len(found.values)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(10.0, 4.4), layout=layout)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    limit = metric.factor * found.threshold
    left.hist(there, bins=min(30, max(5, round(math.sqrt(total)))), color=COLORS[0])
    left.set_ylabel("Chips")
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    where = "post" if metric.falls else "pre"
    passing = [100 * s.share for s in shares]
    right.step(there, passing, where=where, color=COLORS[0], linewidth=2, gid=NAME)
    right.fill_between(
        there,
        [100 * s.low for s in shares],
        [100 * s.high for s in shares],
        step=where,
        color=COLORS[0],
        alpha=0.2,
        linewidth=0,
        label="95 % interval",
    )
    right.set_ylabel(f"Chips {'at or below' if metric.falls else 'at or above'} it (%)")
    right.set_ylim(-2, 102)
    right.plot(limit, 100 * found.passing.share, "o", color=COLORS[1], markersize=7, zorder=4)
    for axes in (left, right):
        axes.axvline(limit, color=COLORS[1], linewidth=1.4, label="threshold")
        axes.axvline(metric.factor * facts.digital, color="#555555", linestyle=":", label="digital")
        axes.set_xlabel(metric.label, fontsize=12)
        axes.grid(alpha=0.25, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    lost = total - len(there)
    beyond = f"; {lost} chips without a finite number are not drawn" if lost else ""
    figure.suptitle(
        f"{facts.where}{facts.aged}: {found.passing.count} of {found.passing.total} chips pass"
        f"{beyond}",
        fontsize=11,
    )
    return figure


def read_yield(run: Path) -> ChipYield:
    """The yield of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = run / YIELD / f"{NAME}.json"
    return read_result(path, ChipYield, f"cimsim yield {run} --above …")
