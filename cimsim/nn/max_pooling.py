"""Max pooling that keeps the position of each result for backward, in one byte.

torch's keeps its input, four bytes for each value, and eight bytes for each result.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim import kernels
from cimsim.estimators.once import edge
from cimsim.kernels.types import Windows
from cimsim.nn.relu import FEWEST
from cimsim.nn.transforms import kernels_read

_MOST_POSITIONS = 256  # in a byte
_LARGEST = 1 << 31  # size or stride of a window


class MaxPool2d(nn.MaxPool2d):
    """``torch.nn.MaxPool2d`` with the same values and gradients, which keeps less memory for
    backward.

    ``y[n, c, i, j] = max x[n, c, s i + k - p, s j + l - p]`` over the ``k, l`` of the kernel. For
    backward it keeps the position of the largest value in its window, the first of equal ones, in
    one byte for each result; the gradient goes there. This needs the C++ kernels, a contiguous
    float32 tensor on the CPU with at least 16384 values, and windows of at most 256 values without
    dilation. :func:`torch.nn.functional.max_pool2d` computes all others, results with
    ``return_indices``, and whatever is compiled, traced or transformed.
    """

    def forward(self, input: Tensor) -> Any:
        """The largest values of the windows of ``input``, ``[N, C, H, W]`` or ``[C, H, W]``."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.max_pool2d(  # type: ignore[call-overload]
                *(input, self.kernel_size, self.stride, self.padding, self.dilation),
                ceil_mode=self.ceil_mode,
                return_indices=self.return_indices,
            )
        else:  # torch.jit.script skips this
            windows = _windows(self, input, 2)
            return super().forward(input) if windows is None else _pooled(input, windows, 2)


class MaxPool1d(nn.MaxPool1d):
    """``torch.nn.MaxPool1d``, which keeps what :class:`MaxPool2d` keeps."""

    def forward(self, input: Tensor) -> Any:
        """The largest values of the windows of ``input``, ``[N, C, L]`` or ``[C, L]``."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.max_pool1d(  # type: ignore[call-overload]
                *(input, self.kernel_size, self.stride, self.padding, self.dilation),
                ceil_mode=self.ceil_mode,
                return_indices=self.return_indices,
            )
        else:
            windows = _windows(self, input, 1)
            return super().forward(input) if windows is None else _pooled(input, windows, 1)


def _windows(module: nn.MaxPool1d | nn.MaxPool2d, x: Tensor, axes: int) -> Windows | None:
    """The windows of ``x`` along its last ``axes``, if the kernel computes their largest values;
    None if torch does, which also rejects an invalid window."""
    if type(x) is not Tensor or not kernels_read(x):
        return None
    if x.numel() < FEWEST or x.dim() not in (axes + 1, axes + 2) or not _is_plain(x):
        return None
    if module.return_indices or type(module.ceil_mode) is not bool:
        return None
    given = (module.kernel_size, module.stride, module.padding, module.dilation)
    settings = [_along(setting, axes) for setting in given]
    if not all(settings):
        return None
    sizes, (kernel, stride, padding, dilation) = x.shape[-axes:], settings
    if min(*kernel, *stride) < 1 or max(*kernel, *stride) > _LARGEST or set(dilation) != {1}:
        return None
    if any(not 0 <= 2 * p <= k for k, p in zip(kernel, padding, strict=True)):
        return None
    outputs = [
        _count(*each, module.ceil_mode) for each in zip(sizes, kernel, stride, padding, strict=True)
    ]
    if min(outputs) < 1 or prod(kernel) > _MOST_POSITIONS:
        return None
    single = 2 - axes  # an axis of one value
    down_and_right = [
        value
        for each, alone in ((sizes, 1), (kernel, 1), (stride, 1), (padding, 0), (outputs, 1))
        for value in (*[alone] * single, *each)
    ]
    return Windows(prod(x.shape[:-axes]), *down_and_right)


def _is_plain(x: Tensor) -> bool:
    """Whether the strides of ``x`` are those of new memory. Others may also be contiguous, if an
    axis has one value, but torch keeps their order of axes."""
    step = 1
    for size, stride in zip(reversed(x.shape), reversed(x.stride()), strict=True):
        if stride != step:
            return False
        step *= size
    return True


def _along(setting: object, axes: int) -> tuple[int, ...]:
    """A setting for each axis; empty if it is neither a whole number nor one for each axis."""
    each = setting if isinstance(setting, tuple | list) else (setting,) * axes
    numbers = tuple(value for value in each if type(value) is int)
    return numbers if len(numbers) == len(each) == axes else ()


def _count(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """How many windows torch puts on an axis: the last one begins within the image or the padding
    before it."""
    room = size + 2 * padding - kernel
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _pooled(x: Tensor, windows: Windows, axes: int) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        y: Tensor = _MaxPool.apply(x, windows, axes, (edge(x),))  # type: ignore[no-untyped-call]
        return y
    return _largest(x, windows, axes, False)[0]


def _largest(
    x: Tensor, windows: Windows, axes: int, want_positions: bool
) -> tuple[Tensor, Tensor | None]:
    y = x.new_empty(*x.shape[:-axes], *windows[-axes:])
    return y, kernels.cpu.max_pool(x, windows, y, want_positions)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, windows: Windows, axes: int, of_input: tuple[Tensor | None]
    ) -> Tensor:
        y, positions = _largest(x, windows, axes, True)
        ctx.shape, ctx.windows = x.shape, windows
        (ctx.of_input,) = of_input  # in a tuple, which autograd does not treat as an input
        ctx.save_for_backward(positions)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (positions,) = ctx.saved_tensors
        if torch.is_grad_enabled() or not kernels_read(dy):
            return _differentiable(dy, positions, ctx), None, None, None
        dx = dy.new_empty(ctx.shape)
        kernels.cpu.max_unpool(dy.contiguous(), positions, ctx.windows, dx)
        return dx, None, None, None


def _differentiable(dy: Tensor, positions: Tensor, ctx: Any) -> Tensor:
    """The gradient by operations of torch, which it differentiates and transforms."""
    w: Windows = ctx.windows
    at = positions.view(w.images, w.out_height, w.out_width).long()
    row = at // w.kernel_width + _starts(w.out_height, w.stride_down, w.padding_down, at)[:, None]
    column = at % w.kernel_width + _starts(w.out_width, w.stride_right, w.padding_right, at)
    pixels = (row * w.width + column).flatten(1)
    zeros = dy.new_zeros(w.images, w.height * w.width)
    dx = zeros.scatter_add(1, pixels, dy.reshape(pixels.shape)).view(ctx.shape)
    if not torch.is_grad_enabled():
        return dx
    zero: Tensor = ctx.of_input.sum()  # so that the derivative by the input is zero, not missing
    return dx - zero


def _starts(count: int, stride: int, padding: int, like: Tensor) -> Tensor:
    """Where the windows along an axis start."""
    return torch.arange(count, device=like.device) * stride - padding
