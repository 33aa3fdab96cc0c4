"""What a search for the knee looked at, and what it found, in a picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from cimsim.analysis.levels import Axis
from cimsim.analysis.plot import COLORS, Curve, draw
from cimsim.analysis.tolerance import Tolerance

AXIS = "axis"
"""What the curve of its figure is of, see :func:`cimsim.analysis.plot.part_of`."""


def draw_tolerance(found: Tolerance) -> Figure:
    """The curve of all levels that were looked at, the limit across it, and the last level within
    it with its 95 % interval."""
    facts, metric = found.facts, found.facts.measured
    levels = tuple(point.level for point in found.points)
    curve = Curve(f"{facts.where}{facts.aged}", facts.digital, found.points)
    figure = draw([curve], Axis(found.axis, levels), metric, of=AXIS)
    axes = figure.axes[0]
    limit = metric.factor * found.limit
    axes.axhline(limit, color=COLORS[1], linewidth=1.2, linestyle="-.")
    text = f"limit {metric.shown(found.limit)}"
    interval = " and its 95 % interval" if facts.chips > 1 else ""
    if found.level is not None:
        low = found.start if found.low is None else found.low
        high = found.stop if found.high is None else found.high
        if facts.chips > 1:
            axes.axvspan(low, high, color=COLORS[1], alpha=0.18, linewidth=0)
        axes.plot(found.level, limit, "D", color=COLORS[1], markersize=8, zorder=5)
        shown = Axis(found.axis, ()).format(float(f"{found.level:.3g}"))
        text = f"{shown}: last level within {found.allowed}{interval}; {text}"
    axes.set_title(text, fontsize=11, loc="left", color=COLORS[1])
    return figure
