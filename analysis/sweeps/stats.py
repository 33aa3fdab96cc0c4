"""Statistics over chips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cimsim.analysis.sheet import Column
from cimsim.analysis.sweeps.axis import Level
from cimsim.analysis.sweeps.metric import ACCURACY, Metric
from cimsim.analysis.sweeps.store import Trial


@dataclass(frozen=True)
class Summary:
    """Statistics of a metric at one level over ``chips`` chips; accuracies are 0 to 1.

    Attributes:
        mean: mean over chips.
        std: standard deviation over chips (n - 1); NaN for one chip.
        standard_error: std / sqrt(n), the standard error of the mean.
        half_width: half of the 95 % confidence interval of the mean, t(0.975, n - 1) times
            ``standard_error`` (Student's t); NaN for one chip.
        low: 2.5th percentile of the chips, lower edge of the 95 % band.
        high: 97.5th percentile of the chips, upper edge of the 95 % band.
        worst: the chip that does worst.
    """

    level: Level
    chips: int
    mean: float
    std: float
    standard_error: float
    half_width: float
    low: float
    high: float
    worst: float

    def format(self, metric: Metric) -> str:
        """Format the mean in ``metric``, with half its 95 % interval for several chips.

        >>> summary(1.0, [0.90, 0.92, 0.94]).format(ACCURACY)
        '92.00 ± 4.97'
        """
        interval = f" ± {metric.format(self.half_width)}" if self.chips > 1 else ""
        return f"{metric.format(self.mean)}{interval}"

    def with_unit(self, metric: Metric) -> str:
        """Format the mean with its interval and the unit: ``92.00 ± 4.97 %``."""
        return f"{self.format(metric)} {metric.unit}".rstrip()

    def error(self, metric: Metric) -> float:
        """Half the 95 % interval in the unit of ``metric``; 0 where one chip has none."""
        return metric.factor * self.half_width if math.isfinite(self.half_width) else 0.0


def summary(level: Level, numbers: Sequence[float], falls: bool = False) -> Summary:
    """Summarize ``numbers``, one for each chip; ``falls`` if lower is better.

    >>> round(summary(1.0, [0.90, 0.92, 0.94]).half_width, 4)
    0.0497
    """
    import numpy as np  # here, since commands are described with this module
    from scipy.special import stdtrit

    values = np.asarray(numbers, dtype=float)
    chips = len(values)
    with np.errstate(invalid="ignore"):  # of a chip whose outputs are not finite
        # Over the first chip, because equal numbers and their rounded mean can differ.
        std = float((values - values[0]).std(ddof=1)) if chips > 1 else float("nan")
        low, high = np.percentile(values, (2.5, 97.5))
    error = std / chips**0.5
    return Summary(
        level=level,
        chips=chips,
        mean=float(values.mean()),
        std=std,
        standard_error=error,
        half_width=float(stdtrit(chips - 1, 0.975)) * error if chips > 1 else float("nan"),
        low=float(low),
        high=float(high),
        worst=float(values.max() if falls else values.min()),
    )


def means(
    name: str,
    points: Iterable[Summary | float | None],
    metric: Metric,
    lost: bool = False,
    essential: bool = True,
) -> Column:
    """Make a column of means with half their 95 % intervals.

    Args:
        name: heading without the unit.
        points: the summaries, or numbers without an interval; None gives an empty cell.
        metric: their metric.
        lost: whether they are differences of the metric.
        essential: see :class:`cimsim.analysis.sheet.Column`.
    """

    def text(point: Summary | float | None) -> str:
        if isinstance(point, Summary):
            return point.format(metric)
        return "" if point is None else metric.format(point)

    unit = metric.loss_unit if lost else metric.unit
    return Column(name, tuple(map(text, points)), unit, essential=essential)


def summaries(trials: Iterable[Trial], metric: Metric = ACCURACY) -> list[Summary]:
    """Summarize each level, in the order in which the levels first appear."""
    levels: dict[Level, list[float]] = {}
    for trial in trials:
        levels.setdefault(trial.level, []).append(metric.of(trial.scores))
    return [summary(level, values, metric.falls) for level, values in levels.items()]


def levels_matter(trials: Sequence[Trial]) -> bool:
    """Whether any chip does better or worse at one level than at another."""
    first: dict[int, Trial] = {}
    return any(t.scores != first.setdefault(t.chip, t).scores for t in trials)
