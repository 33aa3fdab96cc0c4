"""Weights of a layer that were written again after its chip was programmed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOST_ATTEMPTS = 255
"""The most attempts that :class:`Rewrites` counts."""


class Rewrites(nn.Module):
    """The number of times that each weight was written again.

    The cells of a weight have the errors of its last write, and those of weights that were not
    written again are unchanged. Stuck cells and dead lines stay as they are.

    Attributes:
        attempts: one number for each weight on the array, in the order of the cells; uint8.
    """

    attempts: Tensor

    def __init__(self, written: Tensor) -> None:
        """Start without any; ``written`` is the weight on the cells."""
        super().__init__()
        self.register_buffer("attempts", torch.zeros_like(written.detach(), dtype=torch.uint8))
