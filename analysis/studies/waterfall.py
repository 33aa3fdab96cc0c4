"""Error budget as a waterfall: the non-idealities enabled one after another.

The order is physical: first what happens to a weight from its levels to the wires, then what
happens to a signal from the DAC to the ADC. The loss of a step therefore includes its interaction
with those before it; :mod:`cimsim.analysis.studies.shapley` divides the loss independent of order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.studies.effects import (
    BUDGET,
    DEFAULTS,
    EVERYTHING,
    NOTHING,
    NamedEffect,
    effects_axis,
    effects_of,
    physical_order,
    variant_with,
)
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    finite,
)
from cimsim.analysis.sweeps.stats import Summary, means, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = "waterfall"


@dataclass(frozen=True)
class WaterfallStep(NamedEffect):
    """One non-ideality enabled in addition to all before it.

    Attributes:
        after: the metric with it.
        lost: how much worse than before, chip by chip.
    """

    name: str
    after: Summary
    lost: Summary


@dataclass(frozen=True)
class Waterfall(StudyResult):
    """The metric without any non-ideality, every step, and the sum of all steps."""

    facts: Facts
    nothing: Summary
    steps: tuple[WaterfallStep, ...]
    lost: Summary

    stem = "budget/waterfall"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each step, the heading first."""
        yield ["non-ideality", "chips", "mean", "half_width", "lost", "lost_half_width"]
        yield [NOTHING, self.nothing.chips, self.nothing.mean, self.nothing.half_width, 0.0, 0.0]
        for step in self.steps:
            after, lost = step.after, step.lost
            yield [step.name, after.chips, after.mean, after.half_width, lost.mean, lost.half_width]

    def sheet(self) -> Sheet:
        """One row for each step, and first and last a row without any and with all."""
        metric, steps = self.facts.measured, self.steps
        names = ("none", *(f"+ {step.title}" for step in steps), "all")
        after = (self.nothing, *(step.after for step in steps), steps[-1].after)
        lost = (None, *(step.lost for step in steps), self.lost)
        columns = (
            Column("non-ideality", names, kind="name"),
            means("with it", after, metric),
            means("lost by it", lost, metric, lost=True),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    def options(self) -> Options:
        """See :class:`Result`."""
        from cimsim.analysis.studies.budget import BudgetOptions

        return BudgetOptions(waterfall=True)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        texts = [f"none of them\n{self.nothing.with_unit(metric)}"]
        for step in self.steps:
            after, lost = step.after.with_unit(metric), step.lost.format(metric)
            texts.append(f"+ {step.title_and_name}\nwith it: {after}\nlost by it: {lost}")
        texts.append(f"all of them\nlost: {self.lost.format(metric)}")
        return {NAME: texts}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(self.steps) + 2, 0.46, 1.9)

    def draw(self, panels: Panels) -> None:
        """Draw bars from the metric without any non-ideality to the metric with all of them; their
        ends are named (``gid``) ``waterfall``."""
        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric, rows = facts.measured, len(self.steps) + 2
        (axes,) = panels.axes
        heights = [metric.factor * self.nothing.mean]
        heights += [metric.factor * step.after.mean for step in self.steps]
        low, high = min(heights), max(heights)
        span = high - low or 1.0
        errors = [step.lost.error(metric) for step in self.steps]
        errors.append(self.steps[-1].after.error(metric))
        beyond = low - min(x - e for x, e in zip([*heights[1:], heights[-1]], errors, strict=True))
        # An interval may be much longer than all bars.
        floor = max(0.0, low - span * min(max(beyond / span + 0.05, 0.16), 0.5))
        axes.set_xlim(floor, high + 0.16 * span)
        places, gray = canvas.row_places(rows), {"color": theme.quiet(), "linewidth": 0.9}
        for place, level in ((places[0], self.nothing), (places[-1], self.steps[-1].after)):
            end = metric.factor * level.mean
            axes.barh(place, end - floor, left=floor, color=theme.color(0), height=0.62)
            _mark(axes, end, place, level.error(metric), metric.format(level.mean))
        for place, (before, after), step in zip(
            places[1:-1], pairwise(heights), self.steps, strict=True
        ):
            color = theme.color(1 if step.lost.mean > 0 else 2)
            hatch = "" if step.lost.mean > 0 else "///"
            axes.barh(
                *(place, after - before),
                left=before,
                color=color,
                height=0.62,
                hatch=hatch,
                edgecolor=theme.paper(),
                linewidth=0,
            )
            _connect(axes, before, place + 1, place, gray)
            text = f"{after - before:+.2f}"
            _mark(axes, max(before, after), place, step.lost.error(metric), text, after)
        _connect(axes, heights[-1], places[-2], places[-1], gray)
        digital = metric.factor * facts.digital
        axes.axvline(digital, color=theme.quiet(), linewidth=1.1, linestyle=":", zorder=0)
        canvas.name_points(axes, [*heights, heights[-1]], places, NAME)
        names = ["none of them", *(step.title for step in self.steps), "all of them"]
        canvas.name_rows(axes, places, names)
        cut = floor > 0
        axes.set_xlabel(f"{metric.label}, axis cut at {floor:.3g}" if cut else metric.label)
        canvas.style(axes, "x")
        if cut:
            canvas.mark_cut(axes, (places[0], places[-1]))
        panels.title(
            f"{facts.where}{facts.aged}\none after another, mean of {facts.counted}"
            f"{facts.interval}; dotted: digital {metric.format(facts.digital)}",
        )


def _connect(axes: Axes, x: float, upper: float, lower: float, look: dict[str, Any]) -> None:
    """Draw a line from the bar at ``upper`` to the one at ``lower``."""
    axes.plot((x, x), (upper + 0.31, lower - 0.31), **look)


def _mark(
    axes: Axes, edge: float, place: float, error: float, text: str, center: float | None = None
) -> None:
    """Draw a bar's interval around ``center`` (its edge by default), and its number next to it."""
    center = edge if center is None else center
    if error:
        figures.canvas.draw_intervals(axes, [center], [place], [error])
    right = max(edge, center + error)
    if math.isfinite(right):
        figures.canvas.annotate(axes, text, min(right, axes.get_xlim()[1]), place)


def waterfall(subject: Subject, evaluation: Evaluation = Evaluation()) -> Waterfall:  # noqa: B008
    """Enable the non-idealities of the profile of ``subject`` one after another, on the same
    chips.

    Raises:
        CimsimError: if the profile has no non-ideality, a chip's metric is not finite, or as
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    names = physical_order(effects_of(evaluation.assignment(subject)))
    variants = [variant_with(names, names[:count]) for count in range(len(names) + 1)]
    sweep = evaluation.sweep(subject, effects_axis(variants))
    facts, values = facts_of(sweep.plan), sweep.values()
    metric = facts.measured
    finite(values.values(), metric)

    def lost(before: str, after: str) -> list[float]:
        return list(map(metric.lost, values[before], values[after]))

    steps = tuple(
        WaterfallStep(
            name, summary(name, values[after], metric.falls), summary(name, lost(before, after))
        )
        for name, (before, after) in zip(names, pairwise(variants), strict=True)
    )
    total = summary(EVERYTHING, lost(NOTHING, EVERYTHING))
    return Waterfall(facts, summary(NOTHING, values[NOTHING], metric.falls), steps, total)


STUDY = Study(
    NAME,
    Waterfall,
    "Error budget",
    "Non-idealities enabled one after another",
    "--waterfall",
    command=BUDGET,
    section=BUDGET,
    defaults=DEFAULTS,
)
