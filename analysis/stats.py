"""Statistics over chips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from cimsim.analysis.levels import Level
from cimsim.analysis.metric import ACCURACY, Metric
from cimsim.analysis.store import Trial


@dataclass(frozen=True)
class Summary:
    """A metric at one level over ``chips`` chips; accuracies are 0 to 1.

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

    def shown(self, metric: Metric) -> str:
        """The mean in ``metric``, and half its 95 % interval where there are several chips.

        >>> summary(1.0, [0.90, 0.92, 0.94]).shown(ACCURACY)
        '92.00 ± 4.97'
        """
        interval = f" ± {metric.shown(self.half_width)}" if self.chips > 1 else ""
        return f"{metric.shown(self.mean)}{interval}"

    def shown_with_unit(self, metric: Metric) -> str:
        """The same with the unit: ``92.00 ± 4.97 %``."""
        return f"{self.shown(metric)} {metric.unit}".rstrip()


def summary(level: Level, found: Sequence[float], falls: bool = False) -> Summary:
    """What ``found``, one number per chip, says about a level; ``falls`` if less is better.

    >>> round(summary(1.0, [0.90, 0.92, 0.94]).half_width, 4)
    0.0497
    """
    values = np.asarray(found, dtype=float)
    chips = len(values)
    with np.errstate(invalid="ignore"):  # of a chip that gives nonsense
        std = float(values.std(ddof=1)) if chips > 1 else float("nan")
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


def summaries(cells: Iterable[Trial], metric: Metric = ACCURACY) -> list[Summary]:
    """One summary per level, in the order in which the levels first appear."""
    levels: dict[Level, list[float]] = {}
    for cell in cells:
        levels.setdefault(cell.level, []).append(metric.of(cell.accuracy, cell.loss))
    return [summary(level, found, metric.falls) for level, found in levels.items()]


def levels_matter(cells: Sequence[Trial]) -> bool:
    """Whether any chip does better or worse at one level than at another."""
    first: dict[int, Trial] = {}
    scores = [(cell, first.setdefault(cell.chip, cell)) for cell in cells]
    return any((a.accuracy, a.loss) != (b.accuracy, b.loss) for a, b in scores)
