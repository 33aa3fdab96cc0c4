"""Rounding to evenly spaced levels with a straight-through gradient."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.quantizers.quantizer import (
    SMALLEST,
    Bits,
    Codes,
    Group,
    Groups,
    Quantizer,
    code_range,
    through,
)


class Uniform(Quantizer):
    """Evenly spaced levels with the clipped straight-through estimator.

        x~ = s round(clip(x / s, low, high)),   dx~/dx = 1 where low <= x / s <= high, else 0

    | levels    | low           | high           | 2 bits         |
    |-----------|---------------|----------------|----------------|
    | symmetric | -2^(bits-1)+1 | 2^(bits-1) - 1 | -s, 0, s       |
    | full      | -2^(bits-1)   | 2^(bits-1) - 1 | -2s, -s, 0, s  |
    | unsigned  | 0             | 2^bits - 1     | 0, s, 2s, 3s   |
    | ternary   | -1            | 1              | -s, 0, s       |

    ``symmetric``, the default, has three levels at 2 bits; it suits cells in pairs, which hold w
    and -w equally well. ``unsigned`` is for inputs behind a ReLU. ``bits`` is the name of
    ``symmetric`` in older configurations.

    The step ``s`` of a group is its largest magnitude over ``(high - low) / 2``, or its largest
    value over ``high`` if unsigned (``scale=absmax``: no value above zero is clipped by more than
    half a step), its mean magnitude (``scale=absmean``), or ``range`` over the largest magnitude of
    a code if ``range`` is not 0; it is constant in the gradient. One symmetric bit is
    ``x~ = mean|x| sign(x)``, and ``levels=ternary`` rounds ``x / mean|x|`` (BitNet and BitNet
    b1.58); these two always use this scale and have the gradient 1 everywhere.

    Sources: Y. Bengio et al., arXiv:1308.3432 (2013); S. Ma et al., arXiv:2402.17764 (2024).

    >>> import torch
    >>> Uniform(bits=2)(torch.tensor([[-1.0, -0.2, 0.6]]))
    tensor([[-1.,  0.,  1.]])
    >>> Uniform(bits=2, levels="full")(torch.tensor([[-1.0, -0.2, 0.6]]))
    tensor([[-1.3333,  0.0000,  0.6667]])
    """

    name: ClassVar[str] = "uniform"

    def __init__(
        self,
        bits: Bits = 4,
        levels: Literal["symmetric", "full", "unsigned", "ternary", "bits"] = "symmetric",
        scale: Literal["absmax", "absmean"] = "absmax",
        range: Annotated[float, Field(ge=0)] = 0.0,
        group: Group = "row",
    ) -> None:
        super().__init__()
        codes: Codes = levels if levels == "full" or levels == "unsigned" else "symmetric"
        self.low, self.high = code_range(2 if levels == "ternary" else bits, codes)
        self.is_sign = self.high == 0  # one symmetric bit
        self.of_mean = self.is_sign or levels == "ternary"
        if self.of_mean and (range or scale != "absmax"):
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
        values, fixed = groups.values, groups.values.detach()
        step = self._step(groups)
        if self.is_sign:
            return groups.whole(through(values, step * (2 * (fixed >= 0).to(x.dtype) - 1)))
        rounded = step * self._rounded(fixed, step)
        if self.of_mean:
            return groups.whole(through(values, rounded))
        if self.scale == "absmean" or self.range:
            values = values.clamp(step * self.low, step * self.high)
        elif self.low == 0:
            values = values.clamp_min(0)
        return groups.whole(through(values, rounded))

    def step_size(self, x: Tensor) -> float:
        """Return the mean step of the groups."""
        return (2 if self.is_sign else 1) * float(self._step(Groups(x.detach(), self.group)).mean())

    def codes(self, x: Tensor) -> Tensor:
        """Return the index of each element's level."""
        groups = Groups(x.detach(), self.group)
        if self.is_sign:
            return groups.whole((groups.values >= 0).to(x.dtype))
        return groups.whole(self._rounded(groups.values, self._step(groups)))

    def _rounded(self, values: Tensor, step: Tensor) -> Tensor:
        return (values / step).round().clamp(self.low, self.high)

    def _step(self, groups: Groups) -> Tensor:
        """Return the step of each group, ``[groups, 1]``, a constant in the gradient."""
        if self.range:
            return groups.values.new_full((1, 1), self.range / max(-self.low, self.high))
        fixed = groups.values.detach()
        if self.of_mean or self.scale == "absmean":
            return groups.mean(fixed.abs()).clamp_min(SMALLEST)
        if self.low == 0:
            return (groups.high().detach() / self.high).clamp_min(SMALLEST)
        return (groups.largest().detach() / ((self.high - self.low) / 2)).clamp_min(SMALLEST)

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        plain = "" if self.levels in ("bits", "symmetric") else f" {self.levels}"
        what = "ternary" if self.levels == "ternary" else f"{self.bits} bits{plain}"
        return f"{what}, group={self.group}"
