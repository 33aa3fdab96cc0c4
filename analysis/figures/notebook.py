"""Sweeps in a notebook."""

from __future__ import annotations

import hashlib

from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.figures.svg import inline_svg
from cimsim.analysis.sweeps.axis import Axis, is_quantity
from cimsim.analysis.sweeps.stats import summaries
from cimsim.analysis.sweeps.store import Sweep
from cimsim.markup import table


def sweep_html(sweep: Sweep) -> str:
    """Return the figure of a sweep and its numbers; only numbers for the trials of a study."""
    plan, metric = sweep.plan, sweep.plan.measured
    axis, points = Axis(plan.axis, plan.levels), summaries(sweep.trials, metric)
    rows = [
        (
            axis.format(point.level),
            metric.format(point.mean),
            metric.format(point.half_width) if point.chips > 1 else "",
            metric.format(point.worst),
        )
        for point in points
    ]
    headings = (axis.title, "mean", "± 95 %", "worst chip")
    caption = f"{plan.run} on {plan.profile}: {metric.heading}, {plan.chips} chips"
    if sweep.missing:
        caption += f", {sweep.missing} trials not finished"
    numbers = table(headings, rows, caption, range(1, 4))
    if not points or not is_quantity(plan.axis):
        return numbers
    name = hashlib.sha256(repr(sweep).encode()).hexdigest()[:12]
    figure = draw([Curve(plan.run, plan.digital, tuple(points))], axis, metric)
    return (
        f'<div style="fill:currentColor">{inline_svg(figure, f"s{name}-", caption)}</div>{numbers}'
    )
