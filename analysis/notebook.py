"""How results show themselves in a notebook."""

from __future__ import annotations

import hashlib

from cimsim.analysis.levels import Axis
from cimsim.analysis.plot import Curve, draw
from cimsim.analysis.stats import summaries
from cimsim.analysis.store import Sweep, is_study
from cimsim.analysis.svg import inline_svg
from cimsim.markup import table


def sweep_html(sweep: Sweep) -> str:
    """The figure of a sweep and its numbers; of a study, whose levels are no axis, the numbers."""
    plan, metric = sweep.plan, sweep.plan.measured
    axis, points = Axis(plan.axis, plan.levels), summaries(sweep.cells, metric)
    rows = [
        (
            axis.format(point.level),
            metric.shown(point.mean),
            metric.shown(point.half_width) if point.chips > 1 else "",
            metric.shown(point.worst),
        )
        for point in points
    ]
    headings = (axis.title, "mean", "± 95 %", "worst chip")
    caption = f"{plan.run} on {plan.profile}: {metric.heading}, {plan.chips} chips"
    if sweep.missing:
        caption += f", {sweep.missing} cells not finished"
    numbers = table(headings, rows, caption, range(1, 4))
    if not points or is_study(plan.axis):
        return numbers
    name = hashlib.sha256(repr(sweep).encode()).hexdigest()[:12]
    figure = draw([Curve(plan.run, plan.digital, tuple(points))], axis, metric)
    return (
        f'<div style="fill:currentColor">{inline_svg(figure, f"s{name}-", caption)}</div>{numbers}'
    )
