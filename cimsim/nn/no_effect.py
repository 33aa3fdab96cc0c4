"""Parameters in the graph of a tensor on which they have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cimsim.torch_private import unsafe_view


def without_effect(y: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return ``y``, bit for bit, whose graph gives each parameter the gradient 0.

    A sum ``y + 0 * parameter`` would change -0, and every number if the parameter is not finite.
    ``y`` must not be used afterwards.

    >>> y, scale = torch.tensor([-0.0, 1.0]), torch.tensor(torch.inf, requires_grad=True)
    >>> without_effect(y, [scale]).sum().backward()
    >>> scale.grad
    tensor(0.)
    """
    found: Tensor = _WithoutEffect.apply(y, *parameters)  # type: ignore[no-untyped-call]
    return found


class _WithoutEffect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, *parameters: Tensor) -> Tensor:
        # An attribute, because activation checkpointing counts what is saved for backward.
        ctx.parameters = parameters
        return unsafe_view(y, y.shape)  # an ordinary view could not be changed in place, as by ReLU

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return *gradients, *(torch.zeros_like(parameter) for parameter in ctx.parameters)
