"""The one autograd function: simulate forward, let a backward rule speak for the gradient.

It keeps the DAC's codes (``int8`` for up to 8 bits), the weight itself, one bit per converter and
value where the rule wants slopes, and the chip's seed: no noisy copy of the weights, no float
input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.array import Array, Chip, ConverterRanges, Readout, Tiling
from cimsim.estimators.masks import pack, unpack
from cimsim.estimators.rules import BackwardRule


@dataclass(frozen=True)
class Call:
    """One use of an array: which chip at what age, which read, which rule."""

    array: Array
    rule: BackwardRule
    ranges: ConverterRanges
    chip_seed: int
    age_s: float
    read_seed: int
    chip: Chip | None = None

    def held(self, weight: Tensor) -> Chip:
        """The chip: as it was programmed before, or programmed now with ``weight``."""
        if self.chip is not None:
            return self.chip
        return self.array.chip(weight, self.chip_seed, self.age_s)


def analog_matmul(x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """``y = S(x, W)`` on the array of ``call``; gradients by its rule.

    Args:
        x: input in the shape of the tiling's ``product``; float32 or float64.
        weight: the layer's weight, of the same dtype.
        call: what to simulate.

    Returns:
        The layer's output before its bias, of x's dtype.
    """
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return _read(x, weight, call, want_slopes=False).y
    y: Tensor = _AnalogMatmul.apply(x, weight, call)  # type: ignore[no-untyped-call]
    return y


def _read(x: Tensor, weight: Tensor, call: Call, want_slopes: bool) -> Readout:
    chip = call.held(weight)
    return call.array.mvm(x, chip, call.ranges, call.read_seed, want_slopes)


class _AnalogMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        readout = _read(x, weight, call, call.rule.needs_slopes)
        _keep(ctx, readout, weight, call)
        return readout.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        with torch.autocast(dy.device.type, enabled=False):
            dx, dw = ctx.call.rule.backward(_Seen(ctx, dy))
        return dx, dw if ctx.needs_input_grad[1] else None, None


def _keep(ctx: Any, readout: Readout, weight: Tensor, call: Call) -> None:
    ctx.call, ctx.x_shape = call, readout.codes.shape
    dac = call.array.dac
    codes = readout.codes if dac is None else readout.codes.to(dac.storage)
    dac_inside = readout.dac_inside if ctx.needs_input_grad[0] else None
    masks = (dac_inside, readout.adc_inside)
    ctx.mask_shapes = [None if mask is None else mask.shape for mask in masks]
    packed = [None if mask is None else pack(mask) for mask in masks]
    ctx.save_for_backward(codes, weight, *packed)


class _Seen:
    """See :class:`cimsim.estimators.rules.Seen`. Works in the transposed order of the forward."""

    def __init__(self, ctx: Any, dy: Tensor) -> None:
        self._call: Call = ctx.call
        self._tiling: Tiling = self._call.array.tiling
        self._dy = dy
        self._codes: Tensor
        self._weight: Tensor
        self._codes, self._weight, *self._packed = ctx.saved_tensors
        self._x_shape, self._mask_shapes = ctx.x_shape, ctx.mask_shapes
        self._wants_dx = ctx.needs_input_grad[0]

    @property
    def weight(self) -> Tensor:
        return self._tiling.to_cells(self._weight)

    @cached_property
    def _programming(self) -> tuple[Tensor, Tensor]:
        """``W`` and ``W_prog(W)`` with the graph between them, programmed anew from the seed."""
        with torch.enable_grad():
            weight = self._weight.detach().requires_grad_()
            call = self._call
            return weight, call.array.effective_weight(weight, call.chip_seed, call.age_s)

    @property
    def programmed(self) -> Tensor:
        return self._programming[1].detach()

    def delta(self) -> Tensor:
        return self._tiling.spread(self._dy)

    def _through(self, gradient: Tensor, which: int) -> Tensor:
        packed = self._packed[which]
        if packed is None:
            return gradient
        return gradient * unpack(packed, self._mask_shapes[which])

    def delta_through_adc(self) -> Tensor:
        return self._through(self.delta(), 1)

    def at_input(self, dz: Tensor, weight: Tensor) -> Tensor | None:
        return self._tiling.input_grad(dz, weight, self._x_shape) if self._wants_dx else None

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        return None if dx is None else self._through(dx, 0)

    def at_weight(self, dz: Tensor) -> Tensor:
        dac = self._call.array.dac
        if dac is None:
            return self._tiling.cells_grad(dz, self._codes)
        step = self._call.ranges.dac / dac.levels
        return self._tiling.cells_grad(dz, self._codes.to(dz.dtype)) * step

    def straight(self, dw: Tensor) -> Tensor:
        return self._tiling.from_cells(dw)

    def through_programming(self, dw: Tensor) -> Tensor:
        weight, programmed = self._programming
        (gradient,) = torch.autograd.grad(programmed, weight, dw)
        return gradient
