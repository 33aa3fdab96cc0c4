"""Accuracy against cost: every design that was evaluated, and the front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cimsim.analysis.explore import Exploration, Point
from cimsim.analysis.plot import COLORS, MARKERS, name_points

DESIGNS = "designs"
"""The name (``gid``) of the designs, the cheapest first."""
_GRAY = "#555555"
_NEAR = (0.05, 0.045)  # of the axes: where two numbers would stand upon each other
_SHORT = 8  # how many times the first cost the last may be on a short axis


def draw_front(found: Exploration) -> Figure:
    """The metric over the cost: a mark for each design, one color for each run and device.

    The front is joined by steps, as a design at least that good costs what the step says; its
    designs carry their number in the table and the 95 % interval of their mean.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    kinds = list(dict.fromkeys(_kind(point) for point in found.points))
    figure = Figure(figsize=(8.0, 5.0 + 0.26 * len(kinds)), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    metric, cost = found.facts.measured, found.objective
    for index, kind in enumerate(kinds):
        points = [p for p in found.points if _kind(p) == kind]
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        for on_front, size, alpha in ((False, 34, 0.4), (True, 60, 1.0)):
            some = [p for p in points if p.on_front == on_front]
            axes.scatter(
                [cost.of(p) for p in some],
                [metric.factor * p.score.mean for p in some],
                s=size,
                alpha=alpha,
                color=color,
                marker=marker,
                linewidths=0,
                zorder=3,
                label=kind if on_front or not any(p.on_front for p in points) else None,
            )
    axes.axhline(
        metric.factor * found.facts.digital,
        color=_GRAY,
        linewidth=1.1,
        linestyle=":",
        label="digital (no device)",
    )
    axes.set_xscale("log")
    name_points(
        axes,
        [cost.of(point) for point in found.points],
        [metric.factor * point.score.mean for point in found.points],
        DESIGNS,
    )
    _draw_steps(axes, found)
    _write_numbers(axes)
    axes.set_xlabel(f"{cost.title} ({cost.unit})", fontsize=12)
    axes.set_ylabel(metric.label, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    return figure


def _write_numbers(axes: Axes) -> None:
    """Numbers as people write them along a logarithmic axis, the more the shorter it is."""
    low, high = axes.get_xlim()
    steps = (
        (1.0, 2.0, 5.0) if high > _SHORT * low else (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_steps(axes: Axes, found: Exploration) -> None:
    front, metric = found.front, found.facts.measured
    x = [found.objective.of(point) for point in front]
    y = [metric.factor * point.score.mean for point in front]
    axes.step(x, y, where="post", color=_GRAY, linewidth=1.3, zorder=2)
    several = [p for p in front if p.score.chips > 1]
    axes.errorbar(
        [found.objective.of(p) for p in several],
        [metric.factor * p.score.mean for p in several],
        yerr=[metric.factor * p.score.half_width for p in several],
        fmt="none",
        ecolor=_GRAY,
        capsize=3,
        linewidth=1.1,
        zorder=2,
    )
    better = -1 if metric.falls else 1  # on that side no other design is near
    for numbers, at, value in _labels(axes, x, y):
        axes.annotate(
            numbers,
            (at, value),
            xytext=(7, 9 * better),
            textcoords="offset points",
            fontsize=11,
            fontweight="bold",
            va="center",
        )


def _labels(
    axes: Axes, x: Sequence[float], y: Sequence[float]
) -> Iterator[tuple[str, float, float]]:
    """The numbers of the front's points and where they stand; those of near ones in one place."""
    width, height = (
        abs(float(np.diff(limits)[0])) for limits in (np.log(axes.get_xlim()), axes.get_ylim())
    )
    group: list[int] = []
    for i in range(len(x)):
        group.append(i)
        near = i + 1 < len(x) and (
            math.log(x[i + 1] / x[i]) < _NEAR[0] * width
            and abs(y[i + 1] - y[i]) < _NEAR[1] * height
        )
        if not near:
            yield ", ".join(str(k + 1) for k in group), x[i], y[i]
            group = []


def _kind(point: Point) -> str:
    return f"{point.run} on {point.device}"
