"""ReLU and ReLU6 that keep one bit of each value for backward.

torch's ReLU keeps its output, and ReLU6 its input. A digital layer behind a ReLU keeps that output,
too, so that both share it. An analog layer needs only the codes of its DAC, one byte each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim import kernels
from cimsim.estimators.once import edge
from cimsim.nn.transforms import kernels_read
from cimsim.torch_private import is_view

FEWEST = 1 << 14
"""Values that an activation keeps less of; fewer need little memory, and take longer than in
torch."""


class ReLU(nn.ReLU):
    """``torch.nn.ReLU`` with the same values and gradients, which keeps less memory for backward.

    ``y = max(x, 0)``, of any shape. For backward it keeps one bit of each value, whether its
    gradient passes: ``dx = dy`` where ``x > 0`` or ``x`` is NaN, and 0 elsewhere. That is 1/32 of
    what torch keeps, for float32 tensors on the CPU with at least 16384 values, if the C++ kernels
    are there. All others, and whatever is compiled, traced or transformed, are left to
    :func:`torch.nn.functional.relu`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``max(input, 0)``; in the memory of ``input`` if ``inplace`` is set."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.relu(input, inplace=self.inplace)
        elif _keeps_bits(input, self.inplace):  # torch.jit.script skips this
            return _rectified(input, self.inplace, math.nan, _like_relu)
        else:
            return F.relu(input, inplace=self.inplace)


class ReLU6(nn.ReLU6):
    """``torch.nn.ReLU6``, ``y = min(max(x, 0), 6)``, which keeps what :class:`ReLU` keeps: whether
    ``0 < x < 6`` or ``x`` is NaN. (Where ``x`` is NaN, torch's gradient is ``dy`` or 0, depending
    on the position in memory.)"""

    def forward(self, input: Tensor) -> Tensor:
        """``min(max(input, 0), 6)``; in the memory of ``input`` if ``inplace`` is set."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.hardtanh(input, self.min_val, self.max_val, self.inplace)
        elif (self.min_val, self.max_val) == (0.0, 6.0) and _keeps_bits(input, self.inplace):
            return _rectified(input, self.inplace, self.max_val, torch.empty_like)
        else:
            return super().forward(input)


def _rectified(x: Tensor, inplace: bool, ceiling: float, new: Callable[[Tensor], Tensor]) -> Tensor:
    """``x`` between 0 and ``ceiling``, in memory that ``new`` returns if not ``inplace``."""
    y: Tensor = _Rectify.apply(x, inplace, ceiling, new, (edge(x),))  # type: ignore[no-untyped-call]
    return y


def _keeps_bits(x: Tensor, inplace: bool) -> bool:
    """Whether backward gets the bits of the kernel and not the output of torch's function."""
    if not (type(x) is Tensor and torch.is_grad_enabled() and x.requires_grad):
        return False
    if not (kernels_read(x) and x.numel() >= FEWEST and _fills_memory(x)):
        return False
    # In place, a leaf is an error, and a view shares its memory with other tensors.
    return not (inplace and (x.is_leaf or is_view(x)))


def _fills_memory(x: Tensor) -> bool:
    """Whether ``x`` has neither gaps nor several names of one number, in any order of its axes."""
    if x.is_contiguous():
        return True
    step = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def _like_relu(x: Tensor) -> Tensor:
    """Memory for the ReLU of ``x``, with the strides that torch gives it."""
    for form in (torch.contiguous_format, torch.channels_last):
        if x.is_contiguous(memory_format=form):
            return torch.empty_like(x, memory_format=form)
    return torch.empty_like(x)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inplace: bool,
        ceiling: float,
        new: Callable[[Tensor], Tensor],
        of_input: tuple[Tensor | None],
    ) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = x if inplace else new(x)
        ctx.shape, ctx.strides = y.shape, y.stride()
        (ctx.of_input,) = of_input  # in a tuple, which autograd does not treat as an input
        ctx.save_for_backward(kernels.cpu.rectify(x, y, ceiling))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None, None]:
        (passes,) = ctx.saved_tensors
        if torch.is_grad_enabled() or not kernels_read(dy):
            return _differentiable(dy, passes, ctx), None, None, None, None
        dx = dy.new_empty_strided(ctx.shape, ctx.strides)
        kernels.cpu.pass_gradient(dy if dy.stride() == ctx.strides else dx.copy_(dy), passes, dx)
        return dx, None, None, None, None


def _differentiable(dy: Tensor, passes: Tensor, ctx: Any) -> Tensor:
    """The gradient by operations of torch, which it differentiates and transforms."""
    bits = torch.arange(8, dtype=torch.uint8, device=passes.device)
    flat = (passes[:, None] >> bits & 1).bool().flatten()[: ctx.shape.numel()]
    dx = torch.where(flat.as_strided(ctx.shape, ctx.strides), dy, 0.0)
    if not torch.is_grad_enabled():
        return dx
    zero: Tensor = ctx.of_input.sum()  # so that the derivative by the input is zero, not missing
    return dx - zero
