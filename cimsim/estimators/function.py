"""The one autograd function: simulate forward, let a backward rule speak for the gradient.

It keeps the DAC's codes (``int8`` for up to 8 bits) or, where the layer before keeps its output
anyway, that; the weight itself; one bit per converter and value where the rule wants slopes; the
scale of each column; and the chip's seed. No noisy copy of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.array import (
    NOTHING,
    Array,
    Chip,
    ConverterRanges,
    Mask,
    Programmed,
    Readout,
    Tiling,
    Wanted,
)
from cimsim.circuits.dac import bit_planes, spread_planes
from cimsim.estimators.rules import BackwardRule
from cimsim.estimators.sharing import kept_anyway
from cimsim.kernels import active


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
        return self.array.chip(weight, self.chip_seed, self.age_s, passing=True)

    def read(self, x: Tensor, chip: Chip, bias: Tensor | None, wanted: Wanted) -> Readout:
        """Multiply."""
        return self.array.mvm(x, chip, self.ranges, self.read_seed, bias, wanted)


def analog_matmul(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """``y = S(x, W) + b`` on the array of ``call``; gradients by its rule.

    Args:
        x: input in the shape of the tiling's ``product``; float32 or float64.
        weight: the layer's weight, of the same dtype.
        bias: one number for each output, of the same dtype; added digitally.
        call: what to simulate.

    Returns:
        The layer's output, of x's dtype.
    """
    operands = (x, weight, bias, *call.learned)
    wanted = any(operand is not None and operand.requires_grad for operand in operands)
    if not (torch.is_grad_enabled() and wanted):
        return call.read(x, call.held(weight), bias, NOTHING).y
    share = kept_anyway(x)
    y: Tensor = _AnalogMatmul.apply(x, weight, bias, share, call, *call.learned)  # type: ignore[no-untyped-call]
    return y


class _AnalogMatmul(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        share_input: bool,
        call: Call,
        *learned: Tensor | None,
    ) -> Tensor:
        by_range = ctx.needs_input_grad[5:7]
        slopes = call.rule.needs_slopes
        wanted = Wanted(
            adc_mask=slopes,
            dac_mask=slopes and ctx.needs_input_grad[0] and not share_input,
            codes=not share_input,
            by_range=by_range,
        )
        chip = call.held(weight)
        readout = call.read(x, chip, bias, wanted)
        masks = (readout.dac_inside, readout.adc_inside)
        ctx.call, ctx.x_shape, ctx.shares_input = call, x.shape, share_input
        ctx.mask_layouts = [None if mask is None else mask[1:] for mask in masks]
        kept = x if share_input else readout.codes
        bits = [None if mask is None else mask.bits for mask in masks]
        ctx.save_for_backward(kept, weight, chip.scale, *bits, *readout.range_slopes)
        return readout.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        wants_dx, wants_dw, wants_db, _, _, wants_dac, wants_adc = ctx.needs_input_grad
        with torch.autocast(dy.device.type, enabled=False):
            seen = _Seen(ctx, dy)
            dx, dw = ctx.call.rule.backward(seen)
            db = dy.sum([d for d in range(dy.dim()) if d != 1]) if wants_db else None
            d_dac = seen.by_dac_range() if wants_dac else None
            d_adc = seen.by_adc_range() if wants_adc else None
        dx, dw = dx if wants_dx else None, dw if wants_dw else None
        return dx, dw, db, None, None, d_dac, d_adc


@dataclass(frozen=True)
class _AtColumns:
    """A gradient at the columns: the output's, behind a mask if there is one."""

    mask: Mask | None


class _Seen:
    """See :class:`cimsim.estimators.rules.Seen`. Works in the transposed order of the forward."""

    def __init__(self, ctx: Any, dy: Tensor) -> None:
        self._call: Call = ctx.call
        self._array: Array = self._call.array
        self._tiling: Tiling = self._array.tiling
        dac = self._array.profile.dac
        self._bits = dac.bits if dac.bit_serial else None
        self._dy = dy if self._bits is None else spread_planes(dy, self._bits)
        self._kept: Tensor
        self._weight: Tensor
        self._scale: Tensor
        self._kept, self._weight, self._scale, *bits, dac_slope, adc_slope = ctx.saved_tensors
        self._dac_mask, self._adc_mask = (
            None if b is None else Mask(b, *layout)
            for b, layout in zip(bits, ctx.mask_layouts, strict=True)
        )
        self._range_slopes = (dac_slope, adc_slope)
        self._at_rows: Tensor | None = None
        self._x_shape, self._shares_input = ctx.x_shape, ctx.shares_input
        self._wants_dx = ctx.needs_input_grad[0] or ctx.needs_input_grad[5]
        self._spread: tuple[Mask | None, Tensor | None, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        return self._array.over_slices(self._tiling.to_cells(self._weight))

    @cached_property
    def programmed(self) -> Programmed:
        call = self._call
        return self._array.programmed(self._weight, call.chip_seed, call.age_s, self._scale)

    def delta(self) -> _AtColumns:
        return _AtColumns(None)

    def delta_through_adc(self) -> _AtColumns:
        return _AtColumns(self._adc_mask)

    def _at(self, dz: _AtColumns, scale: Tensor | None) -> Tensor:
        """``dz`` itself, times ``scale``; the last one is remembered."""
        if self._spread is None or self._spread[0] is not dz.mask or self._spread[1] is not scale:
            self._spread = (dz.mask, scale, self._array.spread(self._dy, dz.mask, scale))
        return self._spread[2]

    def at_input(self, dz: _AtColumns, weight: Tensor | Programmed) -> Tensor | None:
        if not self._wants_dx:
            return None
        if isinstance(weight, Tensor):
            cells, at_columns = weight, self._at(dz, None)
        else:
            cells, at_columns = weight.values, self._at(dz, weight.scale)
        if self._bits is not None:  # every bit passes its share of the gradient straight through
            dim, planes = self._tiling.vector_dim, self._bits - 1
            at_columns = at_columns.unflatten(dim, (planes, -1)).sum(dim) / ((1 << planes) - 1)
        self._at_rows = self._tiling.input_grad(at_columns, cells, self._x_shape)
        return self._at_rows

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        if dx is None:
            return None
        x = self._kept if self._shares_input else None
        if self._range_slopes[0] is not None:
            dx = dx.clone()  # what arrived at the rows is wanted again, for the range
        return self._array.through_dac(dx, x, self._dac_mask, self._call.ranges)

    @cached_property
    def _codes(self) -> Tensor:
        """What the rows were driven with, in steps of the DAC."""
        if self._shares_input:
            codes = self._array.encode(self._kept, self._call.ranges)
        else:
            codes = self._array.widened(self._kept, self._dy)
        return codes if self._bits is None else bit_planes(codes, self._bits)

    def _in_input_units(self, of_codes: Tensor) -> Tensor:
        step = self._array.step(self._call.ranges)
        return of_codes if step is None else of_codes * step.size

    def straight(self, dz: _AtColumns) -> Tensor:
        array = self._array
        dw = self._in_input_units(self._tiling.cells_grad(self._at(dz, None), self._codes))
        parts = array.mapping.significance()
        if len(parts) > 1:
            counted = torch.tensor(parts, dtype=dw.dtype, device=dw.device).view(-1, 1, 1)
            dw = array.join_slices((dw.unflatten(1, (len(parts), -1)) * counted).flatten(1, 2), 1)
        return self._tiling.from_cells(dw)

    def through_programming(self, dz: _AtColumns) -> Tensor:
        at_columns = self._at(dz, self.programmed.scale)
        slot = "gradient" if active(at_columns) else None
        gradient = self._tiling.cells_grad(at_columns, self._codes, slot)
        return self.programmed.pull(gradient, self._array.step(self._call.ranges))

    def by_dac_range(self) -> Tensor:
        """Gradient of the DAC's range: what arrives at the rows, times the slope of every code."""
        assert self._at_rows is not None
        slope = self._range_slopes[0]
        assert slope is not None
        gradient: Tensor = (self._at_rows * slope).sum()
        return gradient

    def by_adc_range(self) -> Tensor:
        """Gradient of the ADC's range, one or one for each tile."""
        ranges, tiling, slope = self._call.ranges, self._tiling, self._range_slopes[1]
        assert slope is not None
        each = self._at(self.delta(), None) * slope
        if self._bits is not None:
            each = self._in_input_units(each)
        return each.sum() if ranges.adc.dim() == 0 else tiling.by_column(each).sum((1, 2))
