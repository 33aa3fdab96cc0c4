"""Zeroth-order gradients along random directions and along the surrogate's gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from cimsim.training.correctors.corrector import (
    Corrector,
    Loss,
    Share,
    central_difference,
    norm,
)

Samples = Annotated[int, Field(ge=1)]
Surrogate = Literal["identity", "hardtanh", "tanh", "approxsign"]


def _uniform(u: Tensor) -> Tensor:
    return (2 * u - 1) * math.sqrt(3)


def _logistic(u: Tensor) -> Tensor:
    return torch.atanh((2 * u - 1).clamp(-1 + 1e-7, 1 - 1e-7)) * math.sqrt(12) / math.pi


def _triangular(u: Tensor) -> Tensor:
    side = torch.where(u < 0.5, (2 * u).sqrt() - 1, 1 - (2 * (1 - u)).sqrt())
    return side * math.sqrt(6)


SMOOTHING: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "identity": (1 / math.sqrt(12), _uniform),
    "hardtanh": (1 / math.sqrt(3), _uniform),
    "tanh": (math.pi / math.sqrt(12), _logistic),
    "approxsign": (1 / math.sqrt(6), _triangular),
}
"""Noise that smooths a quantizer into the surrogate of its straight-through estimator.

Each entry holds the spread over the quantization step and the distribution of unit variance, as a
map from uniform numbers.

| surrogate           | spread     | distribution                    |
|---------------------|------------|---------------------------------|
| identity for round  | 1/(2 sqrt3) | uniform                        |
| hardtanh for sign   | 1/sqrt3    | uniform                         |
| tanh for sign       | pi/sqrt12  | logistic                        |
| approxsign for sign | 1/sqrt6    | triangular                      |
"""


class Spsa(Corrector):
    """n-SPSA: gradients from the loss at perturbed weights only.

        G = 1/n sum_i [L(w + e u_i) - L(w - e u_i)] / (2 e) u_i,   u_i of unit variance, independent

    ``e`` is the spread of ``surrogate`` (see :data:`SMOOTHING`) in units of each parameter's step.
    Costs 2n forward passes.

    Source: J. C. Spall, IEEE Trans. Automatic Control 37, 332 (1992).
    """

    name: ClassVar[str] = "spsa"

    def __init__(
        self, n: Samples = 1, surrogate: Surrogate = "identity", start: Share = 0.0
    ) -> None:
        self.n, self.surrogate, self.start = n, surrogate, start

    def correct(
        self,
        parameters: Sequence[Tensor],
        loss: Loss,
        epsilon: Sequence[float],
        draws: torch.Generator,
        progress: float = 1.0,
    ) -> None:
        """See :class:`Corrector`."""
        _zeroth_order(parameters, None, 0.0, self.n, self.surrogate, loss, epsilon, draws)


class Fogzo(Corrector):
    """First-order-guided zeroth order: finite differences along the surrogate gradient with noise.

        v_i = sqrt(beta) s_i g/||g|| + sqrt(1 - beta) u_i,   s_i = +-1
        G = 1/n sum_i [L(w + e v_i) - L(w - e v_i)] / (2 e) v_i

    ``g`` is the gradient of the backward rule. The first part of the result keeps it if it is
    correct, removes it if it is orthogonal to the true gradient, and inverts it if it points in the
    opposite direction. ``beta`` decreases linearly from 1 to its value over the training. By
    default it is ``1 - 1/d`` for ``d`` weights, which balances the two parts: ``u_i`` has the
    length ``sqrt(d)``, the guide the length 1. ``e`` is as in
    :class:`Spsa`; if it differs between parameters, all quantities are in units of it. Costs 2n
    additional forward passes.

    Source: N. Yang, T. M. Aamodt, "Improving the Straight-Through Estimator with Zeroth-Order
    Information", NeurIPS 2025, arXiv:2510.23926; the units of several parameters are ours.
    """

    name: ClassVar[str] = "fogzo"

    def __init__(
        self,
        beta: Share | None = None,
        n: Samples = 1,
        surrogate: Surrogate = "identity",
        start: Share = 0.0,
    ) -> None:
        self.beta, self.n, self.surrogate, self.start = beta, n, surrogate, start

    def correct(
        self,
        parameters: Sequence[Tensor],
        loss: Loss,
        epsilon: Sequence[float],
        draws: torch.Generator,
        progress: float = 1.0,
    ) -> None:
        """See :class:`Corrector`; the gradients in ``parameter.grad`` are the guide."""
        done = (progress - self.start) / max(1 - self.start, 1e-9)
        weights = sum(parameter.numel() for parameter in parameters)
        last = 1 - 1 / weights if self.beta is None else self.beta
        beta = 1 - (1 - last) * min(max(done, 0.0), 1.0)
        guide = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        _zeroth_order(parameters, guide, beta, self.n, self.surrogate, loss, epsilon, draws)


def _zeroth_order(
    parameters: Sequence[Tensor],
    guide: Sequence[Tensor] | None,
    beta: float,
    n: int,
    surrogate: str,
    loss: Loss,
    steps: Sequence[float],
    draws: torch.Generator,
) -> None:
    """Implement :class:`Spsa` (no ``guide``) and :class:`Fogzo`.

    Parameters are scaled to units of their ``e``, in which the gradient is ``e`` times as large;
    the result is divided by ``e`` at the end.
    """
    spread, distribution = SMOOTHING[surrogate]
    sizes = [spread * step for step in steps]
    direction = None
    if guide is not None and beta > 0:
        scaled = [size * g for size, g in zip(sizes, guide, strict=True)]
        length = norm(scaled)
        direction = [g / length for g in scaled]
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(n):
        v = [
            math.sqrt(1 - beta)
            * distribution(torch.rand(p.shape, generator=draws, device=p.device, dtype=p.dtype))
            if beta < 1
            else torch.zeros_like(p)
            for p in parameters
        ]
        if direction is not None:
            sign = 2 * torch.randint(2, (), generator=draws, device=parameters[0].device) - 1
            along = math.sqrt(beta) * sign
            v = [one + along * g for one, g in zip(v, direction, strict=True)]
        change = [size * one for size, one in zip(sizes, v, strict=True)]
        slope = central_difference(parameters, change, loss)
        for total, one in zip(sums, v, strict=True):
            total += slope * one
    for parameter, total, size in zip(parameters, sums, sizes, strict=True):
        parameter.grad = total / (n * size)
