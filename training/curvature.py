"""Estimate of the curvature of the loss in each weight by the mean squared gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cimsim.nn import analog_layers

_DECAY = 0.999


class Curvature:
    """Moving averages of the squared gradients of the analog layers' weights.

    ``g <- 0.999 g + 0.001 (dL/dw)^2``, with bias correction: the diagonal of the empirical Fisher
    matrix of batches, as in Adam, but for a part of the loss.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = [layer.weight for layer in analog_layers(model).values()]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages with the current gradients."""
        self._count += 1
        for weight, square in zip(self._weights, self._squares, strict=True):
            if weight.grad is not None:
                square.lerp_(weight.grad.square(), 1 - _DECAY)

    def of(self, parameter: Tensor) -> Tensor | None:
        """Return the mean squared gradient of ``parameter``.

        None before the first update, or if it is not the weight of an analog layer.
        """
        for weight, square in zip(self._weights, self._squares, strict=True):
            if weight is parameter and self._count:
                unbiased: Tensor = square / (1 - _DECAY**self._count)
                return unbiased
        return None

    def state(self) -> list[Tensor]:
        """Return the state for a checkpoint."""
        return [torch.tensor(self._count), *self._squares]

    def load(self, state: list[Tensor]) -> None:
        """Load the result of :meth:`state`."""
        count, *self._squares = state
        self._count = int(count)
