"""Negative feedback training."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class NegativeFeedback(Objective):
    """Loss of the output minus a fraction of the outputs under more noise.

        loss( (z_0 - beta sum_i 10^-i z_i) / (n + 1) ),   i = 0 .. n-1
        z_i: output on another chip, with all noise times 1 + (louder - 1) (n - i) / n

    The output under the most noise counts most. This is the oriented variational forward of the
    source; its other form, outputs of heads at inner layers, needs another model and is not
    included. Use it with ``cross-entropy:weight=0``. Costs ``n`` additional forward passes.

    Source: Y. Qin et al., "NeFT: Negative Feedback Training to Improve Robustness of
    Compute-In-Memory DNN Accelerators", arXiv:2305.14561; the sum and its weights are those of the
    authors' program, which adds 0.15, 0.1 and 0.05 to the standard deviation of the weight noise;
    the relative factors are ours.
    """

    name: ClassVar[str] = "negative-feedback"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "text")
    changes_noise: ClassVar[bool] = True

    def __init__(
        self,
        beta: Annotated[float, Field(ge=0)] = 0.01,
        passes: Annotated[int, Field(ge=1)] = 3,
        louder: Annotated[float, Field(ge=1)] = 2.0,
        weight: Weight = 1.0,
    ) -> None:
        self.beta, self.passes, self.louder, self.weight = beta, passes, louder, weight

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        combined = step.logits
        for i in range(self.passes):
            factor = 1 + (self.louder - 1) * (self.passes - i) / self.passes
            combined = combined - self.beta * 10.0**-i * step.on_chip(i + 1, factor)
        return step.task.loss(combined / (self.passes + 1), step.y)
