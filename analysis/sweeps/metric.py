"""Metrics: numbers for how well a model does, computed from what a trial scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from cimsim.errors import CimsimError
from cimsim.suggest import unknown

_LARGEST = 690.0  # nats; the perplexity of more is not a finite float

Scores: TypeAlias = Mapping[str, float]
"""The numbers of one evaluation by name, such as ``accuracy`` (0 to 1) and ``loss`` (nats)."""


def rounding(size: float) -> float:
    """The largest difference of two numbers of this size that is rounding, not a difference.

    >>> 93.9 / 100 - 939 / 1000 <= rounding(0.939) < 1 / 1000
    True
    """
    return max(1e-9 * abs(size), 1e-15)


@dataclass(frozen=True)
class Metric:
    """A measure of the quality of a model.

    Attributes:
        name: name on the command line and in files.
        title: name in words.
        unit: unit as printed; empty if there is none.
        factor: factor from the computed number to the printed one.
        falls: whether lower is better.
        form: format of a number.
        source: name of the score that the metric is computed from.
        convert: the metric as a function of that score.
    """

    name: str
    title: str
    unit: str = ""
    factor: float = 1.0
    falls: bool = False
    form: str = ".2f"
    source: str = "loss"
    convert: Callable[[float], float] = float

    @property
    def heading(self) -> str:
        """Heading of a table: ``Test accuracy in %``."""
        return self.title + (f" in {self.unit}" if self.unit else "")

    @property
    def label(self) -> str:
        """Label of an axis: ``Test accuracy (%)``."""
        return self.title + (f" ({self.unit})" if self.unit else "")

    @property
    def loss_label(self) -> str:
        """Label of an axis of differences: ``Test accuracy lost (points)``."""
        return f"{self.title} lost" + (f" ({self.loss_unit})" if self.loss_unit else "")

    @property
    def loss_unit(self) -> str:
        """Unit of a difference of two values: ``points`` for percentages."""
        return "points" if self.unit == "%" else self.unit

    def of(self, scores: Scores) -> float:
        """Compute the metric from ``scores``; NaN if they lack :attr:`source`."""
        return self.convert(scores.get(self.source, math.nan))

    def format(self, value: float) -> str:
        """Format the number, with two decimals by default, and large ones without an exponent.

        >>> ACCURACY.format(0.5), METRICS["rmse"].format(123456.7)
        ('50.00', '123,457')
        """
        text = format(self.factor * value, self.form)
        return f"{self.factor * value:,.0f}" if "e+" in text else text

    def with_unit(self, value: float) -> str:
        """Format the number and the unit.

        >>> ACCURACY.with_unit(0.5)
        '50.00 %'
        """
        return f"{self.format(value)} {self.unit}".rstrip()

    def difference_with_unit(self, value: float | str) -> str:
        """Format a difference of two values, or a formatted one, with its unit.

        >>> ACCURACY.difference_with_unit(0.01)
        '1.00 points'
        """
        text = value if isinstance(value, str) else self.format(value)
        return f"{text} {self.loss_unit}".rstrip()

    def from_printed(self, number: float, what: str) -> float:
        """Convert ``number`` from the unit in which the metric is printed to the metric itself.

        Args:
            number: number in :attr:`unit`.
            what: its name in an error.

        Raises:
            CimsimError: if it is not finite, or if the unit is % and it is not a percentage: a
                number up to 1 is assumed to be a fraction.

        >>> ACCURACY.from_printed(90, "the threshold")
        0.9
        """
        if not math.isfinite(number):
            raise CimsimError(f"{what} must be a finite number, not {number}")
        if self.unit == "%" and 0 < number <= 1:
            raise CimsimError(
                f"{what} {number:g} is {number:g} %, because {self.name} is in %; write "
                f"{self.factor * number:g} for the fraction {number:g}"
            )
        if self.unit == "%" and not 0 <= number <= 100:
            raise CimsimError(f"{what} {number:g} is impossible: {self.name} is from 0 to 100 %")
        return number / self.factor

    def require_loss(self, number: float, what: str) -> None:
        """Check a loss in the unit in which losses are printed.

        Args:
            number: loss in :attr:`loss_unit`.
            what: its name in an error.

        Raises:
            CimsimError: if it is not finite, negative, or above 100 points.
        """
        most = 100.0 if self.unit == "%" else math.inf
        if not (math.isfinite(number) and 0 <= number <= most):
            allowed = "from 0 to 100 points" if self.unit == "%" else "0 or more"
            raise CimsimError(f"{what} must be {allowed}, not {number:g}")

    def worse_by(self, value: float, amount: float) -> float:
        """Return the metric that is ``amount`` worse than ``value``: points of a metric in %, and
        percent of ``value`` for any other metric.

        >>> ACCURACY.worse_by(0.9, 5), METRICS["loss"].worse_by(2.0, 5)
        (0.85, 2.1)
        """
        change = amount / self.loss_factor(value)
        return value + change if self.falls else value - change

    def loss_factor(self, value: float) -> float:
        """The factor from a loss to its amount in :meth:`worse_by`; infinity if ``value`` is 0.

        >>> ACCURACY.loss_factor(0.9), METRICS["loss"].loss_factor(2.0)
        (100.0, 50.0)
        """
        if self.unit == "%":
            return self.factor
        return 100 / abs(value) if value else math.inf

    def lost(self, before: float, after: float) -> float:
        """Return by how much ``after`` is worse than ``before``."""
        return after - before if self.falls else before - after

    def reaches(self, value: float, limit: float) -> bool:
        """Return whether ``value`` is at least as good as ``limit``, up to :func:`rounding`; NaN
        never is.

        >>> ACCURACY.reaches(939 / 1000, ACCURACY.from_printed(93.9, "the threshold"))
        True
        """
        return self.lost(limit, value) <= rounding(limit)


def _perplexity(loss: float) -> float:
    return math.inf if loss > _LARGEST else math.exp(loss)


def _bits(loss: float) -> float:
    return loss / math.log(2)


ACCURACY = Metric("accuracy", "Test accuracy", "%", 100.0, source="accuracy")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric("perplexity", "Test perplexity", falls=True, convert=_perplexity),
        Metric("bits", "Test bits", falls=True, convert=_bits),
        Metric("loss", "Test loss", "nats", falls=True),
        Metric("top5", "Test top-5 accuracy", "%", 100.0, source="top5"),
        Metric(
            "balanced_accuracy", "Test balanced accuracy", "%", 100.0, source="balanced_accuracy"
        ),
        Metric("f1", "Test F1", "%", 100.0, source="f1"),
        Metric("rmse", "Test RMSE", falls=True, source="rmse", form=".4g"),
        Metric("mae", "Test mean absolute error", falls=True, source="mae", form=".4g"),
        Metric("r2", "Test R²", source="r2", form=".4f"),
    )
}
_DIRECTIONS = {"max": False, "min": True}


def _available(scores: Scores | None) -> list[str]:
    """Names of the metrics that can be computed from ``scores``; all names without them."""
    if scores is None:
        return list(METRICS)
    known = [name for name, metric in METRICS.items() if metric.source in scores]
    return list(dict.fromkeys([*known, *scores]))


TEST = "test"
"""The usual samples to evaluate on."""


def metric_named(
    name: str, token: str = "", scores: Scores | None = None, split: str = TEST
) -> Metric:
    """Return the metric of that name.

    Args:
        name: a key of :data:`METRICS`, or the name of a custom score; ``name:min`` if
            lower is better.
        token: unit of text that a loss is the mean over, such as ``character``.
        scores: scores of one evaluation, which the metric must be computable from.
        split: the samples that are evaluated, which its title begins with.

    Raises:
        CimsimError: if ``scores`` have no such number, or, without them, the name is unknown.

    >>> metric_named("rmse:min").falls
    True
    >>> metric_named("accuracy", split="held-out").title
    'Held-out accuracy'
    """
    own, _, direction = name.partition(":")
    known = METRICS.get(name)
    if known is not None and (scores is None or known.source in scores):
        metric = known
    elif direction in _DIRECTIONS or (not direction and scores is not None and own in scores):
        falls = _DIRECTIONS.get(direction, own in METRICS and METRICS[own].falls)
        name = f"{own}:{'min' if falls else 'max'}"
        metric = Metric(name, own[:1].upper() + own[1:], falls=falls, form=".4g", source=own)
    elif known is not None:
        metric = known
    else:
        raise CimsimError(unknown("metric", name, _available(scores)))
    if scores is not None and metric.source not in scores:
        raise CimsimError(
            f"metric '{name}' needs the score '{metric.source}', but the model is scored by "
            f"{', '.join(scores)}; choose one of these"
        )
    if split != TEST and metric.title.startswith("Test "):
        metric = replace(metric, title=split.capitalize() + metric.title.removeprefix("Test"))
    titled = token and metric.falls and metric.source == "loss"
    return replace(metric, title=f"{metric.title} per {token}") if titled else metric
