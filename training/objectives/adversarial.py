"""Adversarial weight regularization."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from cimsim.nn import analog_layers, perturbed
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class Adversarial(Objective):
    """Divergence between the outputs for the weights and for the worst weights near them.

        KL( f(W) || f(W*) ),   W* = W + |W| epsilon R first,  R ~ N(0, 1);  then ``steps`` times
        W* <- clip( W* + zeta |W| / steps * sign dKL/dW* )  to  |W* - W| <= zeta |W|

    Both are computed digitally. The gradient flows through ``f(W)`` and through ``W* = W (1 + m)``
    with the attack's factors ``m`` constant. In regression, the mean squared difference replaces
    KL. Costs ``steps + 2`` additional forward passes.

    Source: J. Büchel, F. Faber, D. R. Muir, "Network insensitivity to parameter noise via
    parameter attack during training", ICLR 2022, arXiv:2106.05009.
    """

    name: ClassVar[str] = "adversarial"
    reads_weights = True

    def __init__(
        self,
        weight: Weight = 0.1,
        zeta: Annotated[float, Field(gt=0)] = 0.1,
        steps: Annotated[int, Field(ge=1)] = 3,
        epsilon: Annotated[float, Field(ge=0)] = 1e-4,
    ) -> None:
        self.weight, self.zeta, self.steps, self.epsilon = weight, zeta, steps, epsilon

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        layers = analog_layers(step.model)
        natural = step.digital()
        fixed = natural.detach()
        factors = {
            name: layer.to_matrix(
                self.epsilon
                * torch.empty_like(layer.weight).normal_(generator=step.draws)
                * layer.weight.detach().sign()
            )
            for name, layer in layers.items()
        }
        for _ in range(self.steps):
            factors = self._worsened(factors, fixed, step)
        with perturbed(step.model, lambda n, w: w * (1 + factors[n])):
            return step.task.distance(natural, step.digital())

    def _worsened(
        self, factors: dict[str, Tensor], natural: Tensor, step: TrainStep
    ) -> dict[str, Tensor]:
        """Return the factors ``m`` after one more step of the attack.

        ``W*`` changes by ``zeta |W| / steps`` along the sign of ``dKL/dW*``. Because ``dKL/dm`` is
        ``W dKL/dW*``, ``m`` changes by ``zeta / steps`` along the sign of ``dKL/dm``.
        """
        attack = {name: factor.detach().requires_grad_() for name, factor in factors.items()}
        with torch.enable_grad():
            with perturbed(step.model, lambda n, w: w.detach() * (1 + attack[n])):
                distance = step.task.distance(natural, step.digital())
            slopes = torch.autograd.grad(
                distance, list(attack.values()), allow_unused=True, materialize_grads=True
            )
        return {
            name: (factors[name] + self.zeta / self.steps * slope.sign()).clamp(
                -self.zeta, self.zeta
            )
            for name, slope in zip(attack, slopes, strict=True)
        }
