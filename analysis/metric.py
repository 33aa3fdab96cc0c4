"""What a sweep measures: accuracy of classifiers, perplexity or bits of models of text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from cimsim.errors import CimsimError
from cimsim.suggest import unknown

_LARGEST = 690.0  # nats, whose perplexity is still a number


@dataclass(frozen=True)
class Metric:
    """A number for how well a model does.

    Attributes:
        name: as it is written on the command line.
        title: in words.
        unit: as it is printed, empty where there is none.
        factor: from the number as it is computed with to the one that is shown.
        falls: whether less is better.
        of: the number, from accuracy (0 to 1) and mean loss in nats.
    """

    name: str
    title: str
    unit: str
    factor: float
    falls: bool
    of: Callable[[float, float], float]

    @property
    def heading(self) -> str:
        """For a table: ``Test accuracy in %``."""
        return self.title + (f" in {self.unit}" if self.unit else "")

    @property
    def label(self) -> str:
        """For an axis: ``Test accuracy (%)``."""
        return self.title + (f" ({self.unit})" if self.unit else "")

    def shown(self, value: float) -> str:
        """The number with two decimals.

        >>> ACCURACY.shown(0.5)
        '50.00'
        """
        return f"{self.factor * value:.2f}"

    def with_unit(self, value: float) -> str:
        """The number with two decimals and the unit.

        >>> ACCURACY.with_unit(0.5)
        '50.00 %'
        """
        return f"{self.shown(value)} {self.unit}".rstrip()

    def lost(self, before: float, after: float) -> float:
        """By how much ``after`` is worse."""
        return after - before if self.falls else before - after


def _perplexity(_: float, loss: float) -> float:
    return math.inf if loss > _LARGEST else math.exp(loss)


ACCURACY = Metric("accuracy", "Test accuracy", "%", 100.0, False, lambda accuracy, _: accuracy)
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric("perplexity", "Test perplexity", "", 1.0, True, _perplexity),
        Metric("bits", "Test bits", "", 1.0, True, lambda _, loss: loss / math.log(2)),
        Metric("loss", "Test loss", "nats", 1.0, True, lambda _, loss: loss),
    )
}


def metric_named(name: str, token: str = "") -> Metric:
    """The metric of that name; ``token`` is what a text consists of, such as ``character``.

    Raises:
        CimsimError: if there is none.
    """
    if name not in METRICS:
        raise CimsimError(unknown("metric", name, METRICS))
    metric = METRICS[name]
    return (
        replace(metric, title=f"{metric.title} per {token}") if token and metric.falls else metric
    )
