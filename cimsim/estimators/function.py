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
from cimsim.circuits.dac import bit_planes, spread_planes
from cimsim.estimators.masks import pack, unpack
from cimsim.estimators.rules import BackwardRule


@dataclass(frozen=True)
class Call:
    """One use of an array: which chip at what age, which read, which rule.

    ``learned`` are the ranges of DAC and ADC that want a gradient, None for those that do not.
    """

    array: Array
    rule: BackwardRule
    ranges: ConverterRanges
    chip_seed: int
    age_s: float
    read_seed: int
    chip: Chip | None = None
    learned: tuple[Tensor | None, Tensor | None] = (None, None)

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
    operands = (x, weight, *call.learned)
    wanted = any(operand is not None and operand.requires_grad for operand in operands)
    if not (torch.is_grad_enabled() and wanted):
        chip = call.held(weight)
        return call.array.mvm(x, chip, call.ranges, call.read_seed, want_slopes=False).y
    y: Tensor = _AnalogMatmul.apply(x, weight, call, *call.learned)  # type: ignore[no-untyped-call]
    return y


class _AnalogMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, call: Call, *learned: Tensor | None) -> Tensor:
        readout = call.array.mvm(
            x,
            call.held(weight),
            call.ranges,
            call.read_seed,
            call.rule.needs_slopes,
            (ctx.needs_input_grad[3], ctx.needs_input_grad[4]),
        )
        _keep(ctx, readout, weight, call)
        return readout.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        wants_dx, wants_dw, _, wants_dac, wants_adc = ctx.needs_input_grad
        with torch.autocast(dy.device.type, enabled=False):
            seen = _Seen(ctx, dy)
            dx, dw = ctx.call.rule.backward(seen)
            d_dac = seen.by_dac_range() if wants_dac else None
            d_adc = seen.by_adc_range() if wants_adc else None
        return dx if wants_dx else None, dw if wants_dw else None, None, d_dac, d_adc


def _keep(ctx: Any, readout: Readout, weight: Tensor, call: Call) -> None:
    ctx.call, ctx.x_shape = call, readout.codes.shape
    dac = call.array.dac
    codes = readout.codes if dac is None else readout.codes.to(dac.storage)
    dac_inside = readout.dac_inside if ctx.needs_input_grad[0] else None
    masks = (dac_inside, readout.adc_inside)
    ctx.mask_shapes = [None if mask is None else mask.shape for mask in masks]
    packed = [None if mask is None else pack(mask) for mask in masks]
    ctx.save_for_backward(codes, weight, *packed, *readout.range_slopes)


class _Seen:
    """See :class:`cimsim.estimators.rules.Seen`. Works in the transposed order of the forward."""

    def __init__(self, ctx: Any, dy: Tensor) -> None:
        self._call: Call = ctx.call
        self._tiling: Tiling = self._call.array.tiling
        self._dy = dy
        self._codes: Tensor
        self._weight: Tensor
        self._codes, self._weight, *self._packed, dac_slope, adc_slope = ctx.saved_tensors
        self._range_slopes = (dac_slope, adc_slope)
        self._at_rows: Tensor | None = None
        self._x_shape, self._mask_shapes = ctx.x_shape, ctx.mask_shapes
        self._wants_dx = ctx.needs_input_grad[0] or ctx.needs_input_grad[3]
        dac = self._call.array.profile.dac
        self._bits = dac.bits if dac.bit_serial else None

    @property
    def weight(self) -> Tensor:
        return self._call.array.over_slices(self._tiling.to_cells(self._weight))

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
        """At every column of every tile and slice; of every input bit, times what it counts for."""
        dy = self._dy if self._bits is None else spread_planes(self._dy, self._bits)
        dz = self._tiling.spread(dy)
        slices = self._call.array.profile.array.slices
        return dz if slices == 1 else torch.cat([dz] * slices, dim=self._tiling.column_dim)

    def _through(self, gradient: Tensor, which: int) -> Tensor:
        packed = self._packed[which]
        if packed is None:
            return gradient
        return gradient * unpack(packed, self._mask_shapes[which])

    def delta_through_adc(self) -> Tensor:
        return self._through(self.delta(), 1)

    def at_input(self, dz: Tensor, weight: Tensor) -> Tensor | None:
        if not self._wants_dx:
            return None
        if self._bits is not None:  # every bit passes its share of the gradient straight through
            dim, planes = self._tiling.vector_dim, self._bits - 1
            dz = dz.unflatten(dim, (planes, -1)).sum(dim) / ((1 << planes) - 1)
        self._at_rows = self._tiling.input_grad(dz, weight, self._x_shape)
        return self._at_rows

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        return None if dx is None else self._through(dx, 0)

    def at_weight(self, dz: Tensor) -> Tensor:
        dac = self._call.array.dac
        if dac is None:
            return self._tiling.cells_grad(dz, self._codes)
        step = self._call.ranges.dac / dac.levels
        codes = self._codes.to(dz.dtype)
        if self._bits is not None:
            codes = bit_planes(codes, self._bits)
        return self._tiling.cells_grad(dz, codes) * step

    def by_dac_range(self) -> Tensor:
        """Gradient of the DAC's range: what arrives at the rows, times the slope of every code."""
        assert self._at_rows is not None
        slope = self._range_slopes[0]
        assert slope is not None
        gradient: Tensor = (self._at_rows * slope).sum()
        return gradient

    def by_adc_range(self) -> Tensor:
        """Gradient of the ADC's range, one or one for each tile."""
        call, tiling, slope = self._call, self._tiling, self._range_slopes[1]
        assert slope is not None
        each = self.delta() * slope
        if self._bits is not None:
            dac = call.array.dac
            assert dac is not None
            each = each * (call.ranges.dac / dac.levels)
        return each.sum() if call.ranges.adc.dim() == 0 else tiling.by_column(each).sum((1, 2))

    def straight(self, dw: Tensor) -> Tensor:
        array = self._call.array
        parts = array.mapping.significance()
        if len(parts) > 1:
            counted = torch.tensor(parts, dtype=dw.dtype, device=dw.device).view(-1, 1, 1)
            dw = array.join_slices((dw.unflatten(1, (len(parts), -1)) * counted).flatten(1, 2), 1)
        return self._tiling.from_cells(dw)

    def through_programming(self, dw: Tensor) -> Tensor:
        weight, programmed = self._programming
        (gradient,) = torch.autograd.grad(programmed, weight, dw)
        return gradient
