"""Accuracy against cost: every evaluated design, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cimsim.analysis.figures.canvas import (
    GRAY,
    Layout,
    Panels,
    color,
    marker,
    name_points,
    style,
)
from cimsim.analysis.studies.explore import DESIGNS, Exploration

_NEAR = (0.05, 0.045)  # of the axes: where two numbers would overlap
_SHORT = 8  # largest ratio of costs on a short axis


def layout_of(result: Exploration) -> Layout:
    """Layout of the figure."""
    return Layout(8.0, 5.0 + 0.26 * len(_kinds(result)))


def _kinds(result: Exploration) -> list[str]:
    return list(dict.fromkeys(point.kind for point in result.points))


def draw_front(panels: Panels, result: Exploration) -> None:
    """Draw the metric over the cost: a mark for each design, one color for each run and profile.

    Steps join the front: a design at least that good costs as much as the step shows. Designs on
    the front have their number in the table and the 95 % interval of their mean.
    """
    kinds = _kinds(result)
    (axes,) = panels.axes
    metric, cost = result.facts.measured, result.objective
    for index, kind in enumerate(kinds):
        points = [p for p in result.points if p.kind == kind]
        for on_front, size, alpha in ((False, 34, 0.4), (True, 60, 1.0)):
            some = [p for p in points if p.on_front == on_front]
            axes.scatter(
                [cost.of(p) for p in some],
                [metric.factor * p.score.mean for p in some],
                s=size,
                alpha=alpha,
                color=color(index),
                marker=marker(index),
                linewidths=0,
                zorder=3,
                label=kind if on_front or not any(p.on_front for p in points) else None,
            )
    axes.axhline(
        metric.factor * result.facts.digital,
        color=GRAY,
        linewidth=1.1,
        linestyle=":",
        label="digital",
    )
    axes.set_xscale("log")
    name_points(
        axes,
        [cost.of(point) for point in result.points],
        [metric.factor * point.score.mean for point in result.points],
        DESIGNS,
    )
    _draw_steps(axes, result)
    _write_numbers(axes)
    axes.set_xlabel(f"{cost.title} ({cost.unit})", fontsize=12)
    axes.set_ylabel(metric.label, fontsize=12)
    axes.tick_params(labelsize=11)
    style(axes)
    panels.legend(columns=2, fontsize=11)


def _write_numbers(axes: Axes) -> None:
    """Write plain numbers along a logarithmic axis, more of them if it is short."""
    low, high = axes.get_xlim()
    steps = (
        (1.0, 2.0, 5.0) if high > _SHORT * low else (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_steps(axes: Axes, result: Exploration) -> None:
    front, metric = result.front, result.facts.measured
    x = [result.objective.of(point) for point in front]
    y = [metric.factor * point.score.mean for point in front]
    axes.step(x, y, where="post", color=GRAY, linewidth=1.3, zorder=2)
    several = [p for p in front if p.score.chips > 1]
    axes.errorbar(
        [result.objective.of(p) for p in several],
        [metric.factor * p.score.mean for p in several],
        yerr=[metric.factor * p.score.half_width for p in several],
        fmt="none",
        ecolor=GRAY,
        capsize=3,
        linewidth=1.1,
        zorder=2,
    )
    better = -1 if metric.falls else 1  # no other design is near on that side
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
    """The numbers of the front's points and their places; near points share one place."""
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
