"""GELU and SiLU that keep the codes of the ADC in front of them, one byte of each value.

torch's keep their input for backward, four bytes of each value. The output of an analog linear
layer on one tile of rows is ``code * scale + bias``, with whole codes and one scale and bias for
each column.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim import kernels
from cimsim.estimators.grids import Grid, grid_of
from cimsim.estimators.once import differentiable_once, edge
from cimsim.nn.relu import FEWEST
from cimsim.nn.transforms import kernels_read

Gradient: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""The gradient of a function of each value, from that of its result and its input."""


class GELU(nn.GELU):
    """``torch.nn.GELU`` with the same values and gradients, which keeps less memory for backward.

    ``y = x Phi(x)``, or its approximation by ``tanh``, of any shape. Where an analog linear layer
    computed the input, of at least 16384 values in float32 on the CPU, and codes of one byte
    reproduce it bit for bit, it keeps these codes with the scale and bias of each column; a second
    derivative by the input then raises an error. Otherwise, and in whatever is compiled, traced or
    transformed, it keeps the input as torch does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The GELU of ``input``."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.gelu(input, approximate=self.approximate)
        else:  # torch.jit.script skips this
            gradient = partial(torch.ops.aten.gelu_backward, approximate=self.approximate)
            return _smooth(input, super().forward, gradient)


class SiLU(nn.SiLU):
    """``torch.nn.SiLU``, ``y = x sigmoid(x)``, which keeps what :class:`GELU` keeps."""

    def forward(self, input: Tensor) -> Tensor:
        """The SiLU of ``input``; in its memory if ``inplace`` is set, as torch's."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.silu(input, inplace=self.inplace)
        else:
            if self.inplace:
                return super().forward(input)
            return _smooth(input, super().forward, torch.ops.aten.silu_backward)


def _smooth(x: Tensor, function: Callable[[Tensor], Tensor], gradient: Gradient) -> Tensor:
    if type(x) is not Tensor or not (torch.is_grad_enabled() and x.requires_grad):
        return function(x)
    grid = grid_of(x) if kernels_read(x) and x.numel() >= FEWEST else None
    codes = None if grid is None else kernels.cpu.codes_on_grid(x, *grid)
    if codes is None:
        return function(x)
    y: Tensor = _OnGrid.apply(x, codes, grid, function, gradient, (edge(x),))  # type: ignore[no-untyped-call]
    return y


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        codes: Tensor,
        grid: Grid,
        function: Callable[[Tensor], Tensor],
        gradient: Gradient,
        of_input: tuple[Tensor | None],
    ) -> Tensor:
        ctx.gradient = gradient
        (ctx.of_input,) = of_input  # in a tuple, which autograd does not treat as an input
        ctx.save_for_backward(codes, *grid)
        return function(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            dx = ctx.gradient(dy, kernels.cpu.values_on_grid(*ctx.saved_tensors))
        # A second derivative with respect to the input would need the input in autograd's graph.
        return *differentiable_once((dx,), (dy, ctx.of_input)), None, None, None, None, None
