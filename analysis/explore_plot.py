"""Accuracy against cost: every design that was evaluated, and the front."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatter

from cimsim.analysis.explore import Exploration, Point
from cimsim.analysis.plot import COLOURS, MARKERS

_GREY = "#555555"


def draw_front(found: Exploration) -> Figure:
    """The metric over the cost: a mark for each design, one colour for each run and device.

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
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        for on_front, size, alpha in ((False, 34, 0.4), (True, 60, 1.0)):
            some = [p for p in points if p.on_front == on_front]
            axes.scatter(
                [cost.of(p) for p in some],
                [metric.factor * p.score.mean for p in some],
                s=size,
                alpha=alpha,
                color=colour,
                marker=marker,
                linewidths=0,
                zorder=3,
                label=kind if on_front or not any(p.on_front for p in points) else None,
            )
    axes.axhline(
        metric.factor * found.digital,
        color=_GREY,
        linewidth=1.1,
        linestyle=":",
        label="digital (no device)",
    )
    _draw_steps(axes, found)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
    axes.set_xlabel(f"{cost.title} ({cost.unit})", fontsize=12)
    axes.set_ylabel(metric.label, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.tick_params(axis="x", which="minor", labelsize=10)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    return figure


def _draw_steps(axes: Axes, found: Exploration) -> None:
    front, metric = found.front, found.facts.measured
    x = [found.objective.of(point) for point in front]
    y = [metric.factor * point.score.mean for point in front]
    axes.step(x, y, where="post", color=_GREY, linewidth=1.3, zorder=2)
    several = [p for p in front if p.score.chips > 1]
    axes.errorbar(
        [found.objective.of(p) for p in several],
        [metric.factor * p.score.mean for p in several],
        yerr=[metric.factor * p.score.half_width for p in several],
        fmt="none",
        ecolor=_GREY,
        capsize=3,
        linewidth=1.1,
        zorder=2,
    )
    below = 1 if metric.falls else -1
    for number, (at, value) in enumerate(zip(x, y, strict=True), start=1):
        axes.annotate(
            str(number),
            (at, value),
            xytext=(7, 9 * below),
            textcoords="offset points",
            fontsize=11,
            fontweight="bold",
            va="center",
        )


def _kind(point: Point) -> str:
    return f"{point.run} on {point.device}"
