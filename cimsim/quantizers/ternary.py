"""Ternary weights, with an optional code word for negative zero."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.quantizers.quantizer import Group, Groups, Quantizer


class Ternary(Quantizer):
    """-1, 0 or 1 times a scale, with two options for the gradient of zeros.

        D = threshold * mean|x|,   x~ = a sign(x) [|x| > D],   a = mean of |x| over |x| > D
        zero=plain:  dx~/dx = [D < |x| <= 1]: the gradient of a weight that rounds to zero vanishes
        zero=signed: dx~/dx = [|x| <= 1]: a zero still gets a gradient, and its sign is kept

    With ``signed``, this is the training of ternary weight networks (F. Li et al.,
    arXiv:1605.04711, ``threshold=0.7``); ``plain`` is a comparison, in which zeros seldom leave
    zero.

    A signed zero uses four words, -1, -0, +0, 1, which fit in the two bits of a ternary value; see
    :func:`pack`. The forward pass is the same for both options. The source does not specify the
    exact gradient; this is an interpretation with latent weights, and the optimizer
    ``ternary-chain`` is one without.

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
        """Return ``x~``, in the shape of ``x``."""
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
        """Return the mean distance between the three values."""
        sizes = self(x.detach()).abs()
        return float(sizes.sum() / (sizes > 0).sum().clamp_min(1))

    def codes(self, x: Tensor) -> Tensor:
        """Return -1, 0 or 1."""
        groups = Groups(x.detach(), self.group)
        on = groups.values.abs() > self.dead_zone(groups)
        return groups.whole(groups.values.sign() * on)

    def dead_zone(self, groups: Groups) -> Tensor:
        """Return ``D [groups, 1]``."""
        return self.threshold * groups.mean(groups.values.abs())

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        return f"zero={self.zero}, threshold={self.threshold:g}, group={self.group}"


class _Masked(torch.autograd.Function):
    """Return ``result`` with the gradient of ``x`` where ``passes`` is True."""

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
"""The four words, in the order of their values."""


def words(x: Tensor, dead_zone: Tensor | float) -> Tensor:
    """Return the word of each number, uint8: +1 for ``x > D``, +0 for ``0 <= x <= D``, etc.

    >>> import torch
    >>> words(torch.tensor([-2.0, -0.1, 0.0, 0.3, 5.0]), 0.5).tolist()
    [0, 1, 2, 2, 3]
    """
    return ((x >= -dead_zone).byte() + (x >= 0).byte() + (x > dead_zone).byte()).byte()


def values(word: Tensor) -> Tensor:
    """Return the value of each word, -1, 0, 0 or 1, int8.

    >>> import torch
    >>> values(torch.tensor([0, 1, 2, 3], dtype=torch.uint8)).tolist()
    [-1, 0, 0, 1]
    """
    return (word == PLUS).to(torch.int8) - (word == MINUS).to(torch.int8)


def pack(word: Tensor) -> Tensor:
    """Pack words to two bits each: uint8 of a quarter of the length, rounded up.

    >>> import torch
    >>> pack(torch.tensor([3, 0, 1, 2, 3], dtype=torch.uint8)).tolist()
    [147, 3]
    """
    flat = torch.nn.functional.pad(word.flatten(), (0, -word.numel() % 4)).view(-1, 4)
    return flat[:, 0] | flat[:, 1] << 2 | flat[:, 2] << 4 | flat[:, 3] << 6


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the words in ``shape``; inverse of :func:`pack`."""
    word = torch.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], dim=1).flatten()
    count = torch.Size(shape).numel()
    return word[:count].view(shape)
