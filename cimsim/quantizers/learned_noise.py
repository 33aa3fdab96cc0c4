"""Learned tolerance of each weight to noise, interpreted as its number of bits."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.quantizers.quantizer import SMALLEST, Groups, RandomQuantizer, through


class LearnedNoise(RandomQuantizer):
    """Noise of a trained amplitude on every weight, which determines its number of bits (SMOL).

        training:    x~ = x + r sigmoid(s) u,   u ~ U(-1, 1),   r = the row's largest magnitude
        evaluation:  x rounded to steps of 2 r sigmoid(s), at most its row's range
        bits = 1 - log2 sigmoid(s);  penalty: sum log2(1 + exp(-s)) = sum of bits - 1

    ``s`` is a parameter in the shape of the weight, initialized according to ``bits``. Use it with
    the objective ``penalty``, whose weight is the cost of a bit. The trained amplitudes are a map
    of the sensitivity of weights.

    This is learned noise, per layer and per weight. With an amplitude for each weight it is SMOL
    (P. Savarese et al., "Not All Bits have Equal Value: Heterogeneous Precisions via Trainable
    Noise", NeurIPS 2022), of which this is a reconstruction with our parameterization; with one for
    each layer it is parametric noise injection (Z. He et al., CVPR 2019, arXiv:1811.09310).
    """

    name: ClassVar[str] = "learned-noise"
    for_inputs: ClassVar[bool] = False
    size: nn.Parameter

    def __init__(
        self,
        bits: Annotated[float, Field(gt=1)] = 8.0,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.size = nn.Parameter(torch.zeros((), device="cpu"))

    def setup(self, x: Tensor) -> None:
        """Create an amplitude for each element of ``x``."""
        sigma = 2.0 ** (1 - self.bits)
        self.size = nn.Parameter(torch.full_like(x, math.log(sigma / (1 - sigma))))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        groups = Groups(x.detach(), "row")
        largest = groups.whole(groups.largest().expand_as(groups.values)).clamp_min(SMALLEST)
        half = largest * torch.sigmoid(self.size)
        if self.training:
            rng = self._generator(x.device)
            u = torch.rand(x.shape, generator=rng, device=x.device, dtype=x.dtype)
            return x + half * (2 * u - 1)
        return through(x, ((x / (2 * half)).round() * 2 * half).clamp(-largest, largest))

    def weight_bits(self) -> Tensor:
        """Return the number of bits of each weight, in its shape."""
        return 1 + nn.functional.softplus(-self.size) / 0.6931471805599453

    def penalty(self) -> Tensor:
        """Return the sum of all bits beyond the first."""
        return (self.weight_bits() - 1).sum()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        return f"from {self.bits:g} bits"
