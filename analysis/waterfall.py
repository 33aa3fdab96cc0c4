"""Error budget as a waterfall: the non-idealities switched on one after another.

The order is physical: what happens to a weight from its levels to the wires, then what happens to a
signal from the DAC to the ADC. What a step loses therefore includes how it adds to those before it;
:mod:`cimsim.analysis.shapley` shares out the loss without any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.budget import EVERYTHING, NOTHING, EffectsAxis, device_with, effects_of
from cimsim.analysis.plot import COLORS, name_points
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import BUDGET
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    finite,
    read_result,
    scores,
)
from cimsim.training.run import Run

NAME = "waterfall"
PHYSICAL_ORDER = (
    "cell.levels",
    "cell.endurance",
    "cell.programming_noise",
    "cell.variation",
    "cell.drift",
    "cell.temperature",
    "cell.faults",
    "wires",
    "dac.errors",
    "dac.bits",
    "cell.iv",
    "cell.read_noise",
    "adc.errors",
    "adc.noise_of_range",
    "adc.bits",
)
"""Order in which non-idealities act: on the cells, as listed by :class:`cimsim.profile.CellSpec`,
then on the signal."""


@dataclass(frozen=True)
class Step:
    """One non-ideality switched on beside all before it.

    Attributes:
        after: the metric with it.
        lost: how much worse than before, chip by chip.
    """

    name: str
    after: Summary
    lost: Summary


@dataclass(frozen=True)
class Waterfall(Result):
    """The metric without any non-ideality, every step, and the sum of all steps."""

    facts: Facts
    nothing: Summary
    steps: tuple[Step, ...]
    lost: Summary

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each step, the heading first."""
        yield ["non-ideality", "chips", "mean", "half_width", "lost", "lost_half_width"]
        yield [NOTHING, self.nothing.chips, self.nothing.mean, self.nothing.half_width, 0.0, 0.0]
        for step in self.steps:
            after, lost = step.after, step.lost
            yield [step.name, after.chips, after.mean, after.half_width, lost.mean, lost.half_width]

    def sheet(self) -> Sheet:
        """One row for each step, between those of none and of all."""
        metric = self.facts.measured
        rows = [("none", self.nothing.shown(metric), "")]
        for step in self.steps:
            rows.append((f"+ {step.name}", step.after.shown(metric), step.lost.shown(metric)))
        rows.append(("all", self.steps[-1].after.shown(metric), self.lost.shown(metric)))
        headings = ("non-ideality", "with it", "lost by it")
        return Sheet(self.facts.caption, headings, tuple(rows), range(1, 3))


def physical_order(names: Iterable[str]) -> list[str]:
    """The non-idealities ``names`` in :data:`PHYSICAL_ORDER`."""

    def place(name: str) -> int:
        return next(i for i, part in enumerate(PHYSICAL_ORDER) if f"{name}.".startswith(f"{part}."))

    return sorted(names, key=place)


def waterfall(run: Run, evaluation: Evaluation = Evaluation()) -> Waterfall:  # noqa: B008
    """Switch on the non-idealities of the device of ``run`` one after another, on the same chips.

    Raises:
        CimsimError: if nothing is wrong with the device, a chip's metric is not finite, or as
            :func:`cimsim.analysis.sweep.sweep`.
    """
    names = physical_order(effects_of(evaluation.devices(run)))
    devices = [device_with(names, names[:count]) for count in range(len(names) + 1)]
    sweep = evaluation.sweep(run, EffectsAxis(BUDGET, tuple(devices)))
    facts, found = facts_of(sweep.plan, evaluation), scores(sweep)
    metric = facts.measured
    finite(found.values(), metric)

    def lost(before: str, after: str) -> list[float]:
        return list(map(metric.lost, found[before], found[after]))

    steps = tuple(
        Step(name, summary(name, found[after], metric.falls), summary(name, lost(before, after)))
        for name, (before, after) in zip(names, pairwise(devices), strict=True)
    )
    total = summary(EVERYTHING, lost(NOTHING, EVERYTHING))
    return Waterfall(facts, summary(NOTHING, found[NOTHING], metric.falls), steps, total)


def draw_waterfall(found: Waterfall) -> Figure:
    """Bars that lead from the metric without any non-ideality to that with all of them; their ends
    have the name (``gid``) ``waterfall``."""
    metric, facts = found.facts.measured, found.facts
    ends = [found.nothing.mean, *(step.after.mean for step in found.steps)]
    heights = [metric.factor * value for value in ends]
    rows = len(found.steps) + 2
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 1.9 + 0.46 * rows), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = min(heights), max(heights)
    room = 0.16 * (high - low or 1.0)
    floor = max(0.0, low - room)
    axes.set_xlim(floor, high + room)  # an interval may reach beyond
    places = np.arange(rows)[::-1]
    for place, level in ((places[0], found.nothing), (places[-1], found.steps[-1].after)):
        end = metric.factor * level.mean
        axes.barh(place, end - floor, left=floor, color=COLORS[0], height=0.62)
        _mark(axes, end, place, metric.factor * level.half_width, metric.shown(level.mean))
    for place, (before, after), step in zip(
        places[1:-1], pairwise(heights), found.steps, strict=True
    ):
        color = COLORS[1] if step.lost.mean > 0 else COLORS[2]
        axes.barh(place, after - before, left=before, color=color, height=0.62)
        axes.plot((before, before), (place + 1.31, place - 0.31), color="#555555", linewidth=0.9)
        text = f"{after - before:+.2f}"
        _mark(axes, max(before, after), place, metric.factor * step.lost.half_width, text, after)
    axes.plot((heights[-1],) * 2, (places[-1] - 0.31, places[-2] + 0.31), color="#555555", lw=0.9)
    axes.axvline(
        metric.factor * facts.digital, color="#555555", linewidth=1.1, linestyle=":", zorder=0
    )
    name_points(axes, [*heights, heights[-1]], places.tolist(), NAME)
    axes.set_yticks(places, ["none of them", *(step.name for step in found.steps), "all of them"])
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_xlabel(metric.label, fontsize=12)
    axes.grid(axis="x", alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    interval = "" if facts.chips == 1 else " and its 95 % interval"
    figure.suptitle(
        f"{facts.where}{facts.aged}\none after another, mean of {facts.counted}{interval}; "
        f"dotted: digital {metric.shown(facts.digital)}",
        fontsize=11,
    )
    return figure


def _mark(
    axes: Axes, edge: float, place: float, error: float, text: str, center: float | None = None
) -> None:
    """A bar's interval around ``center`` (its edge by default), and its number right of both."""
    center = edge if center is None else center
    right = edge
    if np.isfinite(error):
        axes.errorbar(center, place, xerr=error, color="black", capsize=3, linewidth=1.2)
        right = max(edge, center + error)
    axes.annotate(
        text,
        (min(right, axes.get_xlim()[1]), place),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=10,
    )


def read_waterfall(run: Path) -> Waterfall:
    """The waterfall of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = run / BUDGET / f"{NAME}.json"
    return read_result(path, Waterfall, f"cimsim budget {run} --waterfall")
