"""Rounding to evenly spaced levels with a straight-through gradient."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.quantizers.quantizer import SMALLEST, Bits, Group, Groups, Quantizer, through


class Uniform(Quantizer):
    """Evenly spaced levels, symmetric around zero, with the clipped straight-through estimator.

        n = 2^(bits-1) - 1,  s = r / n,  x~ = s round(clip(x, -r, r) / s)
        dx~/dx = 1 where |x| <= r, else 0

    The range ``r`` of a group is its largest magnitude (``scale=absmax``), ``n`` times its mean
    magnitude (``scale=absmean``), or the fixed ``range`` if it is not 0; it is constant in the
    gradient. One bit is ``x~ = mean|x| sign(x)``, and ``levels=ternary`` rounds ``x / mean|x|`` to
    -1, 0 or 1 (BitNet and BitNet b1.58); these two always use this scale and have the gradient 1
    everywhere.

    Sources: Y. Bengio et al., arXiv:1308.3432 (2013); S. Ma et al., arXiv:2402.17764 (2024).

    >>> import torch
    >>> Uniform(bits=2)(torch.tensor([[-1.0, -0.2, 0.6]]))
    tensor([[-1.,  0.,  1.]])
    """

    name: ClassVar[str] = "uniform"

    def __init__(
        self,
        bits: Bits = 4,
        levels: Literal["bits", "ternary"] = "bits",
        scale: Literal["absmax", "absmean"] = "absmax",
        range: Annotated[float, Field(ge=0)] = 0.0,
        group: Group = "row",
    ) -> None:
        super().__init__()
        if (bits == 1 or levels == "ternary") and (range or scale != "absmax"):
            raise CimsimError(
                "one bit and ternary always use the mean magnitude; remove scale and range"
            )
        self.bits, self.levels, self.scale, self.range, self.group = (
            *(bits, levels, scale),
            *(range, group),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        groups = Groups(x, self.group)
        values = groups.values
        fixed = values.detach()
        if self.levels == "ternary":
            step = groups.mean(fixed.abs()).clamp_min(SMALLEST)
            return groups.whole(through(values, step * (fixed / step).round().clamp(-1, 1)))
        if self.bits == 1:
            size = groups.mean(fixed.abs())
            return groups.whole(through(values, size * (2 * (fixed >= 0).to(x.dtype) - 1)))
        limit = self._limit(groups).clamp_min(SMALLEST)
        step = limit / (2 ** (self.bits - 1) - 1)
        clipped = values.clamp(-limit, limit)
        return groups.whole(through(clipped, step * (clipped.detach() / step).round()))

    def step_size(self, x: Tensor) -> float:
        """Return the mean step of the groups."""
        groups = Groups(x.detach(), self.group)
        if self.levels == "ternary":
            return float(groups.mean(groups.values.abs()).mean())
        if self.bits == 1:
            return 2 * float(groups.mean(groups.values.abs()).mean())
        return float((self._limit(groups) / (2 ** (self.bits - 1) - 1)).mean())

    def codes(self, x: Tensor) -> Tensor:
        """Return the index of each element's level."""
        groups = Groups(x.detach(), self.group)
        if self.levels == "ternary":
            size = groups.mean(groups.values.abs()).clamp_min(SMALLEST)
            return groups.whole((groups.values / size).round().clamp(-1, 1))
        if self.bits == 1:
            return groups.whole((groups.values >= 0).to(x.dtype))
        limit = self._limit(groups).clamp_min(SMALLEST)
        ratio = groups.values.clamp(-limit, limit) / limit * (2 ** (self.bits - 1) - 1)
        return groups.whole(ratio.round())

    def _limit(self, groups: Groups) -> Tensor:
        if self.range:
            return groups.values.new_full((1, 1), self.range)
        if self.scale == "absmean":
            size = groups.mean(groups.values.detach().abs())
            return size * float(2 ** (self.bits - 1) - 1)
        return groups.largest().detach()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        what = "ternary" if self.levels == "ternary" else f"{self.bits} bits"
        return f"{what}, group={self.group}"
