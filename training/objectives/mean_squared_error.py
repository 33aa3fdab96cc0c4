"""Mean squared error, the loss of regression."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class MeanSquaredError(Objective):
    """Mean squared error of the targets; included with weight 1 by default in regression.

        mean over samples and targets of (y - output)^2

    Targets are divided by their standard deviation in the training data.
    """

    name: ClassVar[str] = "mse"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def __init__(self, weight: Weight = 1.0) -> None:
        self.weight = weight

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        return F.mse_loss(step.logits, step.y)
