"""The mark of the current level on a curve over an axis."""

from __future__ import annotations

from cimsim.analysis.figures.canvas import Panels, part_of
from cimsim.analysis.figures.theme import color, quiet
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import scale_of
from cimsim.analysis.sweeps.metric import Metric
from cimsim.analysis.sweeps.stats import Summary


def mark(panels: Panels, axis: Axis, point: Summary, metric: Metric) -> None:
    """Mark ``point`` of a curve that is drawn on ``panels`` over the levels of ``axis``: a ring
    named (``gid``) ``present``, on a line across the figure."""
    (axes,) = panels.axes
    place = scale_of(axis, axis.values).positions[point.level]
    axes.axvline(place, color=quiet(), linewidth=0.9, linestyle="-", zorder=1)
    axes.plot(
        [place],
        [metric.factor * point.mean],
        linestyle="none",
        marker="o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=color(1),
        markeredgewidth=2.4,
        zorder=4,
        gid=part_of(0, "present"),
    )
