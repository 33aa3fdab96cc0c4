"""What was tried for an advice, in a picture."""

from __future__ import annotations

import textwrap

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.advise import Advice
from cimsim.analysis.plot import COLORS, name_points

_LONGEST = 48  # of an assignment in one line
POINTS = "advice"
"""The name (``gid``) of the points, from top to bottom."""


def draw_advice(found: Advice) -> Figure:
    """What every assignment loses to digital, with its 95 % interval, and what was allowed."""
    metric, tried = found.measured, list(found.tried())
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 1.7 + 0.4 * len(tried)), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = list(range(len(tried)))[::-1]
    colors = [COLORS[0]] * (len(tried) - 2) + [COLORS[1]] * 2
    for place, color, (_, lost) in zip(places, colors, tried, strict=True):
        error = metric.factor * lost.half_width if lost.chips > 1 else 0.0
        x = metric.factor * lost.mean
        axes.errorbar(x, place, xerr=error, fmt="o", color=color, capsize=3, markersize=6)
    name_points(axes, [metric.factor * lost.mean for _, lost in tried], places, POINTS)
    limit = metric.factor * found.asked.within
    axes.axvline(limit, color="#555555", linewidth=1.2, linestyle="--", label="allowed")
    axes.axvline(0, color="#555555", linewidth=1.1, linestyle=":", label="digital (no device)")
    axes.set_yticks(places, ["\n".join(textwrap.wrap(name, _LONGEST)) for name, _ in tried])
    axes.set_ylim(-0.6, len(tried) - 0.4)
    unit = {"%": " (points)", "": ""}.get(metric.unit, f" ({metric.unit})")
    axes.set_xlabel(f"{metric.title} lost{unit}")
    axes.grid(axis="x", alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
