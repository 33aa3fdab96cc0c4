"""Distances between logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def divergence(of: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ``T^2 KL(softmax(of / T) || softmax(against / T))``, the mean over samples.

    Both arguments are logits [N, ..., K].
    """
    p = F.log_softmax(of.flatten(0, -2) / temperature, dim=-1)
    q = F.log_softmax(against.flatten(0, -2) / temperature, dim=-1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)
