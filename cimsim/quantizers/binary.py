"""One-bit quantizer by a noisy comparator."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.quantizers.quantizer import SMALLEST, RandomQuantizer


class StochasticSign(RandomQuantizer):
    """A comparator with input noise: the sign of ``u - Z``.

        u = (x - mean x) / std x  over each row (relative=true), or x itself
        y = sign(u - Z),  P(y = 1) = F(u / noise)
        gradient=st:        dy/du = 2 p_Z(u), the slope of the mean; p_Z is the noise's density
        gradient=hardtanh:  dy/du = [|u| <= 1], a common alternative

    Mean and spread of the row are constant in the gradient; they center inputs that are all
    positive, as after a ReLU.

    ``Z`` is logistic or Gaussian (``shape``) with scale ``noise`` and sampled at every use. It is
    also sampled in evaluation mode, because a comparator stays noisy, unless ``sure`` is True,
    which uses the sign of the mean.

    Source: A. Shekhovtsov, V. Yanush, "Reintroducing Straight-Through Estimators as Principled
    Methods for Stochastic Binary Networks"; it is a linearization of the path sample-analytic
    estimator of A. Shekhovtsov, V. Yanush, B. Flach, NeurIPS 2020, arXiv:2006.03143.
    """

    name: ClassVar[str] = "stochastic-sign"

    def __init__(
        self,
        noise: Annotated[float, Field(gt=0)] = 0.3,
        shape: Literal["logistic", "normal"] = "logistic",
        gradient: Literal["st", "hardtanh"] = "st",
        relative: bool = True,
        sure: bool = True,
    ) -> None:
        super().__init__()
        self.noise, self.shape, self.gradient = noise, shape, gradient
        self.relative, self.sure = relative, sure

    def forward(self, x: Tensor) -> Tensor:
        """Return -1 or 1, in the shape of ``x``."""
        if self.relative:
            std, mean = torch.std_mean(x.detach().flatten(1), dim=1, correction=0)
            rows = (-1, *[1] * (x.dim() - 1))
            x = (x - mean.view(rows)) / std.view(rows).clamp_min(SMALLEST)
        if self.sure and not self.training:
            return _Sign.apply(x, torch.zeros((), device=x.device), self)  # type: ignore[no-any-return, no-untyped-call]
        rng = self._generator(x.device)
        uniform = torch.rand(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        z = torch.logit(uniform) if self.shape == "logistic" else torch.special.ndtri(uniform)
        return _Sign.apply(x, z * self.noise, self)  # type: ignore[no-any-return, no-untyped-call]

    def slope(self, x: Tensor) -> Tensor:
        """Return ``dy/dx`` as used in backward."""
        if self.gradient == "hardtanh":
            return (x.abs() <= 1).to(x.dtype)
        at = x / self.noise
        if self.shape == "logistic":
            p = torch.sigmoid(at)
            return 2 * p * (1 - p) / self.noise
        return 2 * torch.exp(-at.square() / 2) / (math.sqrt(2 * math.pi) * self.noise)

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        return f"{self.shape} noise of {self.noise:g}, gradient={self.gradient}"


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, quantizer: StochasticSign) -> Tensor:
        ctx.save_for_backward(x)
        ctx.quantizer = quantizer
        return torch.where(x >= z, 1.0, -1.0).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad * ctx.quantizer.slope(x), None, None
