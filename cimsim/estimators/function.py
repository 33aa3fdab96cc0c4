"""The one autograd function: simulate forward, let a backward rule speak for the gradient.

It keeps the DAC's codes (``int8`` for up to 8 bits) or, where the layer before keeps its output
anyway, that; the weight itself; one bit per converter and value where the rule wants slopes; the
scale of each column; and the chip's seed. No noisy copy of the weights.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cimsim.array import (
    NOTHING,
    Array,
    Chip,
    ConverterRanges,
    Mask,
    Programmed,
    Readout,
    Wanted,
)
from cimsim.circuits.dac import bit_planes, spread_planes
from cimsim.estimators.once import edge, once, refuse_batched
from cimsim.estimators.rules import BackwardRule
from cimsim.estimators.sharing import kept_anyway
from cimsim.kernels import active, native


@dataclass(frozen=True)
class Call:
    """One use of an array: which chip at what age, which read, which rule.

    ``learned`` are the ranges of DAC and ADC that want a gradient, None for those that do not.
    ``precision`` is the dtype of the products, None for that of the operands. ``cycle`` counts how
    often the chip was written before.
    """

    array: Array
    rule: BackwardRule
    ranges: ConverterRanges
    chip_seed: int
    age_s: float
    read_seed: int
    chip: Chip | None = None
    learned: tuple[Tensor | None, Tensor | None] = (None, None)
    precision: torch.dtype | None = None
    cycle: int = 0

    def held(self, weight: Tensor) -> Chip:
        """The chip: as it was programmed before, or programmed now with ``weight``."""
        if self.chip is not None:
            return self.chip
        return self.array.chip(weight, self.chip_seed, self.age_s, passing=True, cycle=self.cycle)

    def read(self, x: Tensor, chip: Chip, bias: Tensor | None, wanted: Wanted) -> Readout:
        """Multiply."""
        return self.array.mvm(x, chip, self.ranges, self.read_seed, bias, wanted, self.precision)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Autocast off within the context; nothing, and that quickly, where it is off already."""
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


class Kept(NamedTuple):
    """What a forward keeps for its backward; None for what the rule does not want.

    ``input`` is the layer's input itself or the codes of it, ``scale`` that of the chip's columns;
    masks are bits, slopes those by the ranges.
    """

    input: Tensor
    weight: Tensor
    scale: Tensor
    dac_bits: Tensor | None
    adc_bits: Tensor | None
    dac_slope: Tensor | None
    adc_slope: Tensor | None


class Needs(NamedTuple):
    """Which gradients are wanted: of input, weight and bias, and of the ranges of DAC and ADC."""

    x: bool
    weight: bool
    bias: bool
    dac: bool
    adc: bool


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
    y: Tensor = _AnalogMatmul.apply(x, weight, bias, *call.learned, share, call, (edge(x),))  # type: ignore[no-untyped-call]
    return y


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, needs: Needs, share_input: bool
) -> tuple[Tensor, Kept]:
    """The output, and what :func:`backward` wants of it; ``share_input`` keeps the input itself."""
    slopes = call.rule.needs_slopes
    wanted = Wanted(
        adc_mask=slopes,
        dac_mask=slopes and needs.x and not share_input,
        codes=not share_input,
        by_range=(needs.dac, needs.adc),
    )
    chip = call.held(weight)
    readout = call.read(x, chip, bias, wanted)
    masks = (readout.dac_inside, readout.adc_inside)
    dac_bits, adc_bits = (None if mask is None else mask.bits for mask in masks)
    kept_input = x if readout.codes is None else readout.codes
    slopes_by_range = readout.range_slopes
    return readout.y, Kept(kept_input, weight, chip.scale, dac_bits, adc_bits, *slopes_by_range)


def backward(
    dy: Tensor, kept: Kept, call: Call, needs: Needs, x_shape: torch.Size, shares_input: bool
) -> tuple[Tensor | None, ...]:
    """Gradients in the order of :class:`Needs`; None for those that nobody needs."""
    with without_autocast(dy.device.type):
        seen = _Seen(dy, kept, call, needs, x_shape, shares_input)
        dx, dw = call.rule.backward(seen)
        db = dy.sum([d for d in range(dy.dim()) if d != 1]) if needs.bias else None
        d_dac = seen.by_dac_range() if needs.dac else None
        d_adc = seen.by_adc_range() if needs.adc else None
    return dx if needs.x else None, dw if needs.weight else None, db, d_dac, d_adc


class _AnalogMatmul(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dac_range: Tensor | None,
        adc_range: Tensor | None,
        share_input: bool,
        call: Call,
        of_input: tuple[Tensor | None],
    ) -> Tensor:
        ctx.needs = Needs(*ctx.needs_input_grad[:5])
        y, kept = forward(x, weight, bias, call, ctx.needs, share_input)
        ctx.call, ctx.x_shape, ctx.shares_input = call, x.shape, share_input
        (ctx.of_input,) = of_input  # in a tuple, which autograd takes for no input
        ctx.save_for_backward(*kept)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        refuse_batched(dy)
        kept = Kept(*ctx.saved_tensors)
        with torch.no_grad():
            gradients = backward(dy, kept, ctx.call, ctx.needs, ctx.x_shape, ctx.shares_input)
        return *once(gradients, (dy, kept.weight, ctx.of_input)), None, None, None


@dataclass(frozen=True)
class _AtColumns:
    """A gradient at the columns: the output's, behind a mask if there is one."""

    mask: Mask | None


class _Seen:
    """See :class:`cimsim.estimators.rules.Seen`. Works in the transposed order of the forward."""

    def __init__(
        self,
        dy: Tensor,
        kept: Kept,
        call: Call,
        needs: Needs,
        x_shape: torch.Size,
        shares_input: bool,
    ) -> None:
        self._call, self._array, self._tiling = call, call.array, call.array.tiling
        self._kept, self._x_shape, self._shares_input = kept, x_shape, shares_input
        self._wants_dx = needs.x or needs.dac
        self._planes = self._array.planes
        z_shape = self._array.currents_shape(dy.shape)
        line = self._tiling.lines(z_shape).line
        self._dac_mask = self._adc_mask = None
        if kept.dac_bits is not None:
            self._dac_mask = Mask(kept.dac_bits, x_shape, x_shape.numel())
        if kept.adc_bits is not None:
            self._adc_mask = Mask(kept.adc_bits, z_shape, line)
        self._dy = dy if self._planes is None else spread_planes(dy, self._planes)
        self._at_rows: Tensor | None = None
        self._spread: tuple[Mask | None, Tensor | None, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        return self._array.over_slices(self._tiling.to_cells(self._kept.weight))

    @cached_property
    def programmed(self) -> Programmed:
        call = self._call
        return self._array.programmed(
            self._kept.weight, call.chip_seed, call.age_s, self._kept.scale, call.cycle
        )

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
        if self._planes is not None:  # every bit passes its share of the gradient straight through
            dim, planes = self._tiling.vector_dim, self._planes
            at_columns = at_columns.unflatten(dim, (planes, -1)).sum(dim) / ((1 << planes) - 1)
        at_columns, cells = self._low(at_columns), self._low(cells)
        dx = self._tiling.input_grad(at_columns, cells, self._x_shape)
        self._at_rows = dx.to(self._dy.dtype)
        return self._at_rows

    def _low(self, operand: Tensor) -> Tensor:
        """``operand`` of a product, in the precision of this call."""
        return operand if self._call.precision is None else operand.to(self._call.precision)

    def _at_cells(self, at_columns: Tensor, passing: bool = False) -> Tensor:
        """The outer product of what arrives at the columns and the codes of the rows; ``passing``
        if it may lie in scratch memory."""
        slot = "gradient" if passing and active(at_columns) is native else None
        product = self._tiling.cells_grad(self._low(at_columns), self._low(self._codes), slot)
        return product.to(self._dy.dtype)

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        if dx is None:
            return None
        x = self._kept.input if self._shares_input else None
        if self._kept.dac_slope is not None:
            dx = dx.clone()  # what arrived at the rows is wanted again, for the range
        return self._array.through_dac(dx, x, self._dac_mask, self._call.ranges)

    @cached_property
    def _codes(self) -> Tensor:
        """What the rows were driven with, in steps of the DAC."""
        if self._shares_input:
            codes = self._array.encode(self._kept.input, self._call.ranges)
        else:
            codes = self._array.widened(self._kept.input, self._dy)
        return codes if self._planes is None else bit_planes(codes, self._planes)

    def _in_input_units(self, of_codes: Tensor) -> Tensor:
        step = self._array.step(self._call.ranges)
        return of_codes if step is None else of_codes * step.size

    def straight(self, dz: _AtColumns) -> Tensor:
        array = self._array
        dw = self._in_input_units(self._at_cells(self._at(dz, None)))
        parts = array.mapping.significance()
        if len(parts) > 1:
            counted = torch.tensor(parts, dtype=dw.dtype, device=dw.device).view(-1, 1, 1)
            dw = array.join_slices((dw.unflatten(1, (len(parts), -1)) * counted).flatten(1, 2), 1)
        return self._tiling.from_cells(dw)

    def through_programming(self, dz: _AtColumns) -> Tensor:
        gradient = self._at_cells(self._at(dz, self.programmed.scale), passing=True)
        return self.programmed.pull(gradient, self._array.step(self._call.ranges))

    def by_dac_range(self) -> Tensor:
        """Gradient of the DAC's range: what arrives at the rows, times the slope of every code."""
        assert self._at_rows is not None
        slope = self._kept.dac_slope
        assert slope is not None
        gradient: Tensor = (self._at_rows * slope).sum()
        return gradient

    def by_adc_range(self) -> Tensor:
        """Gradient of the ADC's ranges."""
        ranges, tiling, slope = self._call.ranges, self._tiling, self._kept.adc_slope
        assert slope is not None
        each = self._at(self.delta(), None) * slope
        if self._planes is not None:
            each = self._in_input_units(each)
        by_column = tiling.by_column(each)
        summed = self._array.range_groups(by_column.shape[1]).gathered(by_column).sum(1)
        return summed.view(ranges.adc.shape)
