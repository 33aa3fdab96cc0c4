"""Estimate of the curvature of the loss in each weight, from the gradients of batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cimsim.nn import analog_layers

_DECAY = 0.999


class Curvature:
    """Mean squared gradient of single labels, for the weights of the analog layers.

        f_i = E[ (dl_n/dw_i)^2 ] = v_i + m_i^2,   v_i: variance over labels n,   m_i: mean

    This is the diagonal of the empirical Fisher matrix; for cross-entropy it approximates the
    diagonal of the Gauss-Newton matrix. A training step has only the gradient ``g`` of the mean
    loss over its ``N`` labels, whose square has the expectation ``v / N + m^2``. So ``v`` and ``m``
    follow from two moving averages, each with the decay 0.999 and bias correction, at any batch
    size, number of parts and number of processes:

        m = <N g> / <N>,   v = (<N g^2> - <N> m^2) / (1 - s),   s = sum_t a_t^2 N_t / <N>

    ``a_t`` are the coefficients of the averages; the denominator makes ``v`` unbiased. Noise that
    all labels of a step share, such as that of a chip, counts as if each label had its own.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = [layer.weight for layer in analog_layers(model).values()]
        self._means = [torch.zeros_like(weight) for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._count = 0
        self._labels = 0.0  # sum of a_t N_t, without bias correction
        self._overlap = 0.0  # sum of a_t^2 N_t, without bias correction

    @torch.no_grad()
    def update(self, labels: int) -> None:
        """Update the averages with the current gradients of the mean loss over ``labels``."""
        share = 1 - _DECAY
        self._count += 1
        self._labels = _DECAY * self._labels + share * labels
        self._overlap = _DECAY**2 * self._overlap + share**2 * labels
        for weight, mean, square in zip(self._weights, self._means, self._squares, strict=True):
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            mean.lerp_(labels * gradient, share)
            square.lerp_(labels * gradient.square(), share)

    @torch.no_grad()
    def of(self, parameter: Tensor) -> Tensor | None:
        """Return the mean squared gradient ``f`` of ``parameter``.

        None before the second update, which the variance needs, or if it is not the weight of an
        analog layer.
        """
        corrected = 1 - _DECAY**self._count
        if self._overlap >= corrected * self._labels * (1 - 1e-9):  # one step with labels, or none
            return None
        overlap = self._overlap / (corrected * self._labels)
        for weight, mean, square in zip(self._weights, self._means, self._squares, strict=True):
            if weight is parameter:
                squared_mean = (mean / self._labels).square()
                spread = (square - self._labels * squared_mean) / corrected
                return spread.clamp_min(0) / (1 - overlap) + squared_mean
        return None

    def state(self) -> list[Tensor]:
        """Return the state for a checkpoint."""
        numbers = (self._count, self._labels, self._overlap)
        counted = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        return [counted, *self._means, *self._squares]

    def load(self, state: list[Tensor]) -> None:
        """Load the result of :meth:`state`."""
        numbers, *averages = state
        count, self._labels, self._overlap = numbers.tolist()
        self._count = int(count)
        self._means, self._squares = averages[: len(self._weights)], averages[len(self._weights) :]
