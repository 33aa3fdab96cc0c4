"""What a model learns from its data: classes, text or numbers, and how it is scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from cimsim.nn.tallies import IGNORED, ClassTally, Tally, TargetTally
from cimsim.training.progress import ACCURACY, RMSE, Measure


def divergence(of: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ``T^2 KL(softmax(of / T) || softmax(against / T))``, the mean over samples.

    Both arguments are logits [N, ..., K].
    """
    p = F.log_softmax(of.flatten(0, -2) / temperature, dim=-1)
    q = F.log_softmax(against.flatten(0, -2) / temperature, dim=-1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)


class Task(ABC):
    """A kind of labels.

    Attributes:
        name: name, as in ``task=regression``.
        objective: name of the term of the loss that is always included.
        metric: name of the metric that is shown by default.
        measure: number shown next to the loss during training.
    """

    name: ClassVar[str]
    objective: ClassVar[str]
    metric: ClassVar[str]
    measure: ClassVar[Measure]

    @abstractmethod
    def tally(self) -> Tally:
        """Return new sums for the scores of a model."""

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss of the task over a batch."""

    @abstractmethod
    def labels(self, y: Tensor) -> int:
        """Return the number of labels that the mean loss of a batch is over."""

    @abstractmethod
    def sum(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the sum over a batch that :meth:`measured` is computed from."""

    @abstractmethod
    def measured(self, total: float, count: float) -> float:
        """Return the :attr:`measure` of ``count`` labels, whose :meth:`sum` is ``total``."""

    @abstractmethod
    def distance(self, of: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the distance between two outputs [N, ..., K], the mean over samples."""


@dataclass(frozen=True)
class Classification(Task):
    """Labels int64 [N] in ``0 .. classes-1``; the model returns logits [N, classes]."""

    name: ClassVar[str] = "classification"
    objective: ClassVar[str] = "cross-entropy"
    metric: ClassVar[str] = "accuracy"
    measure: ClassVar[Measure] = ACCURACY

    per_class: bool = False  # see ClassTally

    def tally(self) -> Tally:
        """See :class:`Task`."""
        return ClassTally(self.per_class)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats."""
        return F.cross_entropy(outputs.flatten(0, -2), y.flatten())

    def labels(self, y: Tensor) -> int:
        """Return the number of labels that the loss does not ignore."""
        return int((y != IGNORED).sum())

    def sum(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the number of right answers."""
        return (outputs.argmax(dim=-1) == y).sum()

    def measured(self, total: float, count: float) -> float:
        """Return the accuracy."""
        return total / max(count, 1)

    def distance(self, of: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
        """Return :func:`divergence`."""
        return divergence(of, against, temperature)


@dataclass(frozen=True)
class Text(Classification):
    """Labels int64 [N, T], the next symbols; the model returns logits [N, T, classes]."""

    name: ClassVar[str] = "text"
    metric: ClassVar[str] = "perplexity"


@dataclass(frozen=True, eq=False)
class Regression(Task):
    """Targets float32 [N, K] in units of ``scale`` [K]; the model returns [N, K]."""

    name: ClassVar[str] = "regression"
    objective: ClassVar[str] = "mse"
    metric: ClassVar[str] = "rmse"
    measure: ClassVar[Measure] = RMSE

    scale: Tensor

    def tally(self) -> Tally:
        """See :class:`Task`."""
        return TargetTally(self.scale)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean squared error, in units of the scale."""
        return F.mse_loss(outputs, y)

    def labels(self, y: Tensor) -> int:
        """Return the number of samples."""
        return len(y)

    def sum(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the sum of squared errors."""
        return ((outputs - y) * self.scale.to(y.device, y.dtype)).square().sum()

    def measured(self, total: float, count: float) -> float:
        """Return the root of the mean squared error."""
        return math.sqrt(total / max(count, 1))

    def distance(self, of: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the mean squared difference; there is no temperature."""
        return F.mse_loss(of, against)


CLASSIFICATION = Classification()
