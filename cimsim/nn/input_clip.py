"""Inputs clipped at a learned range of the DAC, outside of the chip.

A learned range is a part of the network, as in PACT (J. Choi et al., arXiv:1805.06085): the weights
were trained with inputs that stop at it. So the digital layer clips its input in evaluation mode,
and so does a layer on a chip with an ideal DAC, or on a user's own chip:

    x_clipped = min(max(x, -r), r)

In training mode the digital layer does not, because a training that begins digitally learns its
ranges later.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cimsim.nn.converter_ranges import SMALLEST_RANGE


def clipped(x: Tensor, bound: Tensor) -> Tensor:
    """``x`` between ``-bound`` and ``bound``, which broadcasts; nothing changes where it is NaN.

    The gradient of ``x`` stops where it is beyond the bound, and that of the bound is summed there.
    """
    limit = torch.where(bound.isnan(), torch.inf, bound.clamp_min(SMALLEST_RANGE)).to(x.dtype)
    return torch.minimum(torch.maximum(x, -limit), limit)


class InputClip:
    """A forward pre-hook that clips the first input of a module."""

    def __init__(self, bound: Tensor) -> None:
        self.bound = bound

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments with the first one clipped."""
        first, *others = args
        return (clipped(first, self.bound.to(first.device)), *others)
