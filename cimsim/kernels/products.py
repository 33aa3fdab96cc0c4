"""Products of batches of matrices: by torch, or by a unit of the processor that multiplies numbers
of 16 bits faster than float32 (:class:`cimsim.kernels.cpu.Unit`).

The codes of a DAC of up to 8 bits are such numbers. A float32 number is rounded to one, with an
error of ``2^-16`` of the largest number beside it, or split into two bfloat16 numbers, with an
error of ``2^-17`` of itself.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.kernels import cpu, run_on_cpu
from cimsim.kernels.memory import scratch

_FEWEST_TERMS = 32
# Fewest products for each number of a factor. Packing a number moves 6 to 8 bytes, which takes as
# long as a unit saves in about 50 products, at the rates that benchmarks/split.py measures.
_PACKING = 64


class Product(NamedTuple):
    """How the product of batches of matrices ``[batch, m, k]`` and ``[batch, k, n]`` is computed,
    or a convolution (:mod:`cimsim.kernels.convolutions`), which uses ``slot`` and ``split``.

    Attributes:
        slot: on the CPU, the scratch memory of the result; None for new memory.
        split: whether a unit for numbers of 16 bits may multiply, where that is faster: on CPUs
            that have one, for factors that are large enough.
        whole: which of the factors holds whole numbers up to 256.
        wide: whether products of bfloat16 or float16 on a GPU are in float32.
    """

    slot: str | None = None
    split: bool = False
    whole: tuple[bool, bool] = (False, False)
    wide: bool = True

    def __call__(self, a: Tensor, b: Tensor, /) -> Tensor:
        """``a b``."""
        if self.wide and a.is_cuda and a.dtype in (torch.bfloat16, torch.float16):
            return torch.bmm(a, b, out_dtype=torch.float32)
        splits = self.split and _are_faster_split(a, b, any(self.whole))
        if not a.is_cpu or (self.slot is None and not splits):
            return torch.bmm(a, b)
        shape = (a.shape[0], a.shape[1], b.shape[2])
        out = a.new_empty(shape) if self.slot is None else scratch(self.slot, shape, a.dtype)
        if not splits:
            return torch.bmm(a, b, out=out)
        cpu.multiply(a, b, out, self.whole)
        return out


def can_split(*factors: Tensor, whole: bool) -> bool:
    """Whether a unit multiplies these tensors, one of which holds ``whole`` numbers or none does,
    if they are large enough."""
    if not run_on_cpu(*factors) or cpu.unit_for(whole) is None:
        return False
    return not (torch.is_grad_enabled() and any(factor.requires_grad for factor in factors))


def _are_faster_split(a: Tensor, b: Tensor, whole: bool) -> bool:
    _, m, k = a.shape
    n = b.shape[2]
    if k < _FEWEST_TERMS or m * n < _PACKING * (m + n):
        return False
    if not a.dtype is b.dtype is torch.float32:
        return False
    return can_split(a, b, whole=whole) and 1 in a.stride()[1:] and 1 in b.stride()[1:]
