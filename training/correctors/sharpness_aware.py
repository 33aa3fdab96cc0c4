"""Sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.correctors.corrector import Corrector, Loss, Share, moved, norm


class SharpnessAware(Corrector):
    """Gradient of the loss at the worst parameters nearby (sharpness-aware minimization, SAM).

        e = rho g / ||g||,   G = dL/dw at w + e

    ``g`` is the gradient of the backward rule over all parameters, of which ``e`` is the step that
    increases the loss most to first order within ``||e|| <= rho``. Both gradients are of the same
    batch, with the same dropout and, by default, on the same chip; ``chips=redrawn`` computes the
    second on another one. Costs one additional forward and backward pass.

    Source: P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for
    Efficiently Improving Generalization", ICLR 2021, arXiv:2010.01412.
    """

    name: ClassVar[str] = "sam"
    differentiates: ClassVar[bool] = True

    def __init__(
        self,
        rho: Annotated[float, Field(gt=0)] = 0.05,
        chips: Literal["same", "redrawn"] = "same",
        start: Share = 0.0,
    ) -> None:
        self.rho, self.chips, self.start = rho, chips, start
        self.other_chip = chips == "redrawn"

    def correct(
        self,
        parameters: Sequence[Tensor],
        loss: Loss,
        epsilon: Sequence[float],
        draws: torch.Generator,
        progress: float = 1.0,
    ) -> None:
        """See :class:`Corrector`; the gradients in ``parameter.grad`` are ``g``.

        Raises:
            CimsimError: if the loss has no gradient.
        """
        guide = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        length = norm(guide)
        for parameter in parameters:
            parameter.grad = None
        with moved(parameters, [self.rho / length * g for g in guide]), torch.enable_grad():
            value = loss()
            if not (isinstance(value, Tensor) and value.requires_grad):
                raise CimsimError(
                    "sam needs a loss that is a tensor with a gradient; do not compute it under "
                    "torch.no_grad()"
                )
            value.backward()
