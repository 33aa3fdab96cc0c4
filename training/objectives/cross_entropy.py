"""Cross-entropy, the loss of the task."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class CrossEntropy(Objective):
    """Mean cross-entropy of the labels in nats; included with weight 1 by default.

        -sum_k t_k log softmax(logits)_k,   t = (1 - smoothing) one-hot(y) + smoothing / classes

    Logits ``[N, ..., classes]``, labels ``[N, ...]``.
    """

    name: ClassVar[str] = "cross-entropy"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "text")

    def __init__(
        self, weight: Weight = 1.0, smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ) -> None:
        self.weight, self.smoothing = weight, smoothing

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        logits = step.logits.flatten(0, -2)
        return F.cross_entropy(logits, step.y.flatten(), label_smoothing=self.smoothing)
