"""Accuracy of a gradient, measured by the loss along its direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cimsim.training.correctors.corrector import Loss, central_difference, norm


def gradient_truth(parameters: Sequence[Tensor], loss: Loss, radius: float = 0.01) -> float:
    """Return ``rho``: the directional derivative of the loss along ``g``, over ``||g||``.

        rho = [L(w + d g/||g||) - L(w - d g/||g||)] / (2 d ||g||),   d = radius * ||w||

    The gradients are read from ``parameter.grad``. ``rho`` is 1 if they equal those of the loss
    (smoothed over d), 0 if they are orthogonal to them or missing, and negative if they point
    uphill.

    Source: the ratio used in FOGZO (arXiv:2510.23926), here as a separate measure.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    length = norm(gradients)
    distance = radius * norm([parameter.detach() for parameter in parameters])
    change = [gradient * (distance / length) for gradient in gradients]
    return float(central_difference(parameters, change, loss) / (distance * length))
