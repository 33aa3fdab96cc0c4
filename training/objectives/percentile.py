"""Quantile of the loss over chips."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class Percentile(Objective):
    """Loss that a fraction of the chips does not exceed, for the yield instead of the mean.

        Q_q(L_1, …, L_K),   L_k = loss of the batch on chip k

    ``q = 1`` is the worst of ``K`` chips, and 0.5 the median; between two chips the quantile is
    interpolated linearly, and its gradient is that of these two. The first chip is the one of the
    other terms; with ``cross-entropy:weight=0`` (or ``mse:weight=0``) this term is the whole loss.
    Costs ``K - 1`` additional forward passes, whose activations are kept.

    Sources: the k-th percentile performance of Z. Yan et al. (TRICE), ICCAD 2023, arXiv:2307.15853,
    used there as a measure; the quantile of a few chips as the loss is the estimate of the value at
    risk by L. J. Hong, Operations Research 57, 118 (2009).
    """

    name: ClassVar[str] = "percentile"

    def __init__(
        self,
        chips: Annotated[int, Field(ge=2)] = 4,
        quantile: Annotated[float, Field(ge=0, le=1)] = 0.9,
        weight: Weight = 1.0,
    ) -> None:
        self.chips, self.quantile, self.weight = chips, quantile, weight

    def term(self, step: TrainStep) -> Tensor:
        """Return the quantile of the mean losses over the batch."""
        losses = [step.task.loss(step.logits, step.y)]
        losses += [step.task.loss(step.on_chip(k), step.y) for k in range(1, self.chips)]
        return torch.quantile(torch.stack(losses).float(), self.quantile)
