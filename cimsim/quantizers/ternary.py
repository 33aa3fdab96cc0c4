"""Ternary weights, with a fourth code word for the sign of a zero."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.quantizers.quantizer import Group, Groups, Quantizer


class Ternary(Quantizer):
    """-1, 0 or 1 times a scale; ``zero`` sets the gradient of a zero.

        D = threshold * mean|x|,   x~ = a sign(x) [|x| > D],   a = mean of |x| over |x| > D
        zero=plain:  dx~/dx = [D < |x| <= 1]: the gradient of a weight that rounds to zero vanishes
        zero=signed: dx~/dx = [|x| <= 1]: a zero keeps moving, and its sign matters

    With a signed zero four words are in use, -1, -0, +0, 1: two bits, as ternary needs anyway; see
    :func:`pack`. The forward is the same for both. The source does not give its exact gradient;
    this is a version with latent weights, and :class:`cimsim.training.optimizers.TernaryChain`
    the one without.

    Source of the idea: J. Uhlmann, "Signed-Zero Ternary", arXiv:2508.05905.
    """

    name: ClassVar[str] = "ternary"

    def __init__(
        self,
        zero: Literal["signed", "plain"] = "signed",
        threshold: Annotated[float, Field(ge=0)] = 0.5,
        group: Group = "row",
    ) -> None:
        super().__init__()
        self.zero, self.threshold, self.group = zero, threshold, group

    def forward(self, x: Tensor) -> Tensor:
        """``x~``, in the shape of ``x``."""
        groups = Groups(x.detach(), self.group)
        size = groups.values.abs()
        on = size > self.dead_zone(groups)
        count = groups.total(on.to(x.dtype)).clamp_min(1)
        scale = groups.total(torch.where(on, size, 0.0)) / count
        result = groups.whole(groups.values.sign() * on * scale)
        passes = x.detach().abs() <= 1
        if self.zero == "plain":
            passes = passes & groups.whole(on)
        ternary: Tensor = _Masked.apply(x, result, passes)  # type: ignore[no-untyped-call]
        return ternary

    def step_size(self, x: Tensor) -> float:
        """Mean distance of the three values."""
        sizes = self(x.detach()).abs()
        return float(sizes.sum() / (sizes > 0).sum().clamp_min(1))

    def codes(self, x: Tensor) -> Tensor:
        """-1, 0 or 1."""
        groups = Groups(x.detach(), self.group)
        on = groups.values.abs() > self.dead_zone(groups)
        return groups.whole(groups.values.sign() * on)

    def dead_zone(self, groups: Groups) -> Tensor:
        """``D [groups, 1]``."""
        return self.threshold * groups.mean(groups.values.abs())

    def extra_repr(self) -> str:
        """Settings for ``repr``."""
        return f"zero={self.zero}, threshold={self.threshold:g}, group={self.group}"


class _Masked(torch.autograd.Function):
    """``result``, with the gradient of ``x`` where ``passes``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, result: Tensor, passes: Tensor) -> Tensor:
        ctx.save_for_backward(passes)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (passes,) = ctx.saved_tensors
        return grad * passes, None, None


MINUS, MINUS_ZERO, PLUS_ZERO, PLUS = 0, 1, 2, 3
"""The four words in the order of their numbers."""


def words(x: Tensor, dead_zone: Tensor | float) -> Tensor:
    """The word of each number, uint8: ``x > D`` is +1, ``0 <= x <= D`` is +0, and so below zero.

    >>> import torch
    >>> words(torch.tensor([-2.0, -0.1, 0.0, 0.3, 5.0]), 0.5).tolist()
    [0, 1, 2, 2, 3]
    """
    return ((x >= -dead_zone).byte() + (x >= 0).byte() + (x > dead_zone).byte()).byte()


def values(word: Tensor) -> Tensor:
    """-1, 0, 0 or 1, int8.

    >>> import torch
    >>> values(torch.tensor([0, 1, 2, 3], dtype=torch.uint8)).tolist()
    [-1, 0, 0, 1]
    """
    return (word == PLUS).to(torch.int8) - (word == MINUS).to(torch.int8)


def pack(word: Tensor) -> Tensor:
    """Words at two bits each: uint8 of a quarter of the length, rounded up.

    >>> import torch
    >>> pack(torch.tensor([3, 0, 1, 2, 3], dtype=torch.uint8)).tolist()
    [147, 3]
    """
    flat = torch.nn.functional.pad(word.flatten(), (0, -word.numel() % 4)).view(-1, 4)
    return flat[:, 0] | flat[:, 1] << 2 | flat[:, 2] << 4 | flat[:, 3] << 6


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`pack`: the words in ``shape``."""
    word = torch.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], dim=1).flatten()
    count = torch.Size(shape).numel()
    return word[:count].view(shape)
