"""What stands in tables of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cimsim.analysis.metric import Metric
    from cimsim.analysis.stats import Summary


def mean(level: Summary, metric: Metric) -> str:
    """The mean over chips, and half its 95 % interval where there are several."""
    interval = f" ± {metric.shown(level.half_width)}" if level.chips > 1 else ""
    return f"{metric.shown(level.mean)}{interval}"
