"""What a chip holds, for backward: weights on cells, and the way back to the digital ones."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from cimsim.array.chip import hold
from cimsim.array.tiling import Tiling
from cimsim.circuits.mapping import Mapping
from cimsim.kernels.native import Dac
from cimsim.profile import Profile


class Programmed(Protocol):
    """``W_prog = values * scale``, programmed anew from the chip's seed.

    Attributes:
        values: relative weights, ``[tiles, columns, rows]``; columns of slices included.
        scale: what each column counts for, ``[tiles, columns]``.
    """

    scale: Tensor

    @property
    def values(self) -> Tensor:
        """See above."""

    def pull(self, gradient: Tensor, dac: Dac | None) -> Tensor:
        """``dL/dW`` in the weight's shape; ``gradient`` times the DAC's step is ``dL/dvalues``.

        Through the cells' own physics, and through the scale, whose noise grows with it.
        """


class PlainlyProgrammed:
    """By the plain physics under autograd, for every device."""

    def __init__(
        self,
        tiling: Tiling,
        profile: Profile,
        weight: Tensor,
        seed: int,
        age_s: float,
        scale: Tensor,
        cycle: int = 0,
    ) -> None:
        self.scale = scale
        with torch.enable_grad():
            self._weight = weight.detach().requires_grad_()
            cells = hold(tiling.to_cells(self._weight), profile, seed, age_s, cycle)
            mapping = Mapping(profile.cell, profile.array)
            self._values = mapping.weights(mapping.relative(cells.wired_uS))
            self._scale = cells.scale
        self.values = self._values.detach()

    def pull(self, gradient: Tensor, dac: Dac | None) -> Tensor:
        """See :class:`Programmed`."""
        if dac is not None:
            gradient = gradient * dac.size
        d_scale = (gradient * self.values).sum(-1, keepdim=True) / self.scale.unsqueeze(-1)
        (pulled,) = torch.autograd.grad(
            (self._values, self._scale), self._weight, (gradient, d_scale)
        )
        return pulled
