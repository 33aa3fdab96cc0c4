"""Is the gradient true? The loss measured along it, over its length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cimsim.training.correctors.corrector import Loss, central_difference, norm


def gradient_truth(parameters: Sequence[Tensor], loss: Loss, radius: float = 0.01) -> float:
    """The audit number ``rho``: the loss's directional derivative along ``g``, over ``||g||``.

        rho = [L(w + d g/||g||) - L(w - d g/||g||)] / (2 d ||g||),   d = radius * ||w||

    1 if the gradients that stand in ``parameter.grad`` are those of the loss (smoothed over d), 0
    if they are orthogonal to them, below 0 if they lead uphill. 0 too where there is no gradient.

    Source: the ratio that decides in FOGZO (arXiv:2510.23926), used as a measure of its own.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    length = norm(gradients)
    distance = radius * norm([parameter.detach() for parameter in parameters])
    change = [gradient * (distance / length) for gradient in gradients]
    return float(central_difference(parameters, change, loss) / (distance * length))
