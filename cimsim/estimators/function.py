"""The one autograd function: the forward pass simulates, a backward rule gives the gradient.

It saves the DAC's codes (``int8`` for up to 8 bits), or the input itself if autograd saves that
already; the weight; one bit per converter and value if the rule needs slopes; the scale of each
column; and the chip's seed. It saves no noisy copy of the weights, except the solution of resistive
wires, which takes most of the time of a step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cimsim.array import (
    SAVE_NOTHING,
    Array,
    CellWeights,
    Chip,
    ChipName,
    ConverterRanges,
    Mask,
    Programmed,
    Readout,
    SaveOptions,
    Solution,
    products_vjp,
    response_vjp,
)
from cimsim.circuits.dac import bit_planes, spread_planes
from cimsim.dtypes import as_dtype
from cimsim.estimators.once import differentiable_once, edge, refuse_batched
from cimsim.estimators.rules import BackwardRule
from cimsim.estimators.sharing import saved_by_autograd
from cimsim.kernels.products import Product


class MvmCall(NamedTuple):
    """One multiplication to simulate.

    Attributes:
        array, rule, ranges: the array, its backward rule, and the converters' full scales.
        chip_seed, cycle, age_s: name of the chip, how often it was written before, and its age.
        read_seed: name of the read.
        chip: the chip if it is programmed already; None to program it.
        learned: ranges of DAC and ADC that need a gradient; None for a range that does not.
        precision: dtype of the products; None for the dtype of the operands.
        attempts: how often each weight was written again; None for never.
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
    attempts: Tensor | None = None

    def chip_for(self, weight: Tensor) -> Chip:
        """The chip, programmed with ``weight`` if that was not done before."""
        if self.chip is not None:
            return self.chip
        return self.array.chip(
            weight, self.chip_seed, self.age_s, True, cycle=self.cycle, attempts=self.attempts
        )

    def read(self, x: Tensor, chip: Chip, bias: Tensor | None, save: SaveOptions) -> Readout:
        """Multiply."""
        return self.array.mvm(x, chip, self.ranges, self.read_seed, bias, save, self.precision)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """A context without autocast; free of cost where autocast is off."""
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


class SavedForBackward(NamedTuple):
    """Tensors that a forward pass saves for its backward pass; None for what the rule ignores.

    Attributes:
        input: the layer's input, or its codes.
        weight: the layer's weight.
        scale: scales of the chip's columns.
        dac_bits, adc_bits: masks of saturation, one bit per value.
        adc_slope: derivatives by the ADC's ranges.
        wired_uS: effective conductances of the cells behind their wires.
    """

    input: Tensor
    weight: Tensor
    scale: Tensor
    dac_bits: Tensor | None
    adc_bits: Tensor | None
    adc_slope: Tensor | None
    wired_uS: Tensor | None


class GradientsNeeded(NamedTuple):
    """Which of input, weight, bias, and the ranges of DAC and ADC need a gradient."""

    x: bool
    weight: bool
    bias: bool
    dac: bool
    adc: bool


def analog_matmul(x: Tensor, weight: Tensor, bias: Tensor | None, call: MvmCall) -> Tensor:
    """``y = S(x, W) + b`` on the array of ``call``; gradients by its rule.

    Args:
        x: input in the shape of the tiling's ``product``; of the dtype of the weight, or of a lower
            precision if the array reads it (see :meth:`cimsim.array.Array.reads_low`).
        weight: the layer's weight; float32 or float64.
        bias: one number for each output, of the dtype of the weight; added digitally.
        call: what to simulate.

    Returns:
        The layer's output, of x's dtype.
    """
    if not (torch.is_grad_enabled() and _any_needs_gradient(x, weight, bias, *call.learned)):
        return call.read(x, call.chip_for(weight), bias, SAVE_NOTHING).y
    dac_range = call.learned[0]  # its gradient needs the input itself
    share = (dac_range is not None and dac_range.requires_grad) or saved_by_autograd(x)
    y: Tensor = _AnalogMatmul.apply(x, weight, bias, *call.learned, share, call, (edge(x),))  # type: ignore[no-untyped-call]
    return y


def _any_needs_gradient(*operands: Tensor | None) -> bool:
    for operand in operands:
        if operand is not None and operand.requires_grad:
            return True
    return False


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    call: MvmCall,
    needs: GradientsNeeded,
    share_input: bool,
) -> tuple[Tensor, SavedForBackward]:
    """The output, and what :func:`backward` needs.

    ``share_input`` saves the input, not its codes; the gradient of a DAC's range needs that.
    """
    slopes = call.rule.needs_slopes
    save = SaveOptions(
        adc_mask=slopes,
        dac_mask=slopes and needs.x and not share_input,
        codes=not share_input,
        by_adc_range=needs.adc,
    )
    chip = call.chip_for(weight)
    readout = call.read(x, chip, bias, save)
    masks = (readout.dac_inside, readout.adc_inside)
    dac_bits, adc_bits = (None if mask is None else mask.bits for mask in masks)
    saved_input = x if readout.codes is None else readout.codes
    parts = (dac_bits, adc_bits, readout.adc_slope)
    wired_uS = chip.wired_uS if call.rule.needs_programmed else None
    return readout.y, SavedForBackward(saved_input, weight, chip.scale, *parts, wired_uS)


def backward(
    dy: Tensor,
    saved: SavedForBackward,
    call: MvmCall,
    needs: GradientsNeeded,
    x_shape: torch.Size,
    shares_input: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients in the order of :class:`GradientsNeeded`; None for those that are not needed."""
    with without_autocast(dy.device.type):
        context = _Context(dy, saved, call, needs, x_shape, shares_input)
        dx, dw = call.rule.backward(context)
        db = None
        if needs.bias:
            db = dy.sum([d for d in range(dy.dim()) if d != 1], dtype=saved.weight.dtype)
        d_dac = context.by_dac_range() if needs.dac else None
        d_adc = context.by_adc_range() if needs.adc else None
    return dx if needs.x else None, dw, db, d_dac, d_adc


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
        call: MvmCall,
        of_input: tuple[Tensor | None],
    ) -> Tensor:
        ctx.needs = GradientsNeeded(*ctx.needs_input_grad[:5])
        y, saved = forward(x, weight, bias, call, ctx.needs, share_input)
        ctx.call, ctx.x_shape, ctx.shares_input = call, x.shape, share_input
        ctx.scale, ctx.bias = saved.scale, bias  # for cimsim.estimators.grids
        (ctx.of_input,) = of_input  # in a tuple, which autograd does not treat as an input
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        refuse_batched(dy)
        saved = SavedForBackward(*ctx.saved_tensors)
        with torch.no_grad():
            gradients = backward(dy, saved, ctx.call, ctx.needs, ctx.x_shape, ctx.shares_input)
        depend_on = (dy, saved.weight, ctx.of_input)
        return *differentiable_once(gradients, depend_on), None, None, None


@dataclass(frozen=True)
class _AtColumns:
    """The gradient at the columns: the gradient of the output, masked if there is a mask."""

    mask: Mask | None


class _Context:
    """See :class:`cimsim.estimators.rules.BackwardContext`."""

    def __init__(
        self,
        dy: Tensor,
        saved: SavedForBackward,
        call: MvmCall,
        needs: GradientsNeeded,
        x_shape: torch.Size,
        shares_input: bool,
    ) -> None:
        self._call, self._array, self._tiling = call, call.array, call.array.tiling
        self._saved, self._x_shape, self._shares_input = saved, x_shape, shares_input
        self._needs_dx, self._needs_dw = needs.x or needs.dac, needs.weight
        self._needs_dac = needs.dac
        self._by_dac_range: Tensor | None = None
        self._planes = self._array.planes
        self._dac_mask = self._adc_mask = None
        if saved.dac_bits is not None:
            self._dac_mask = Mask(saved.dac_bits, x_shape, x_shape.numel())
        if saved.adc_bits is not None:
            z_shape = self._array.currents_shape(dy.shape)
            line = self._tiling.lines(z_shape).line
            self._adc_mask = Mask(saved.adc_bits, z_shape, line)
        self._output_gradient, self._products = dy, call.precision or dy.dtype
        self._dy = dy if self._planes is None else spread_planes(dy, self._planes)
        self._at_rows: Tensor | None = None
        self._again: Programmed | None = None
        self._scattered: tuple[Mask | None, Tensor | None, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        return self._array.over_slices(self._tiling.to_cells(self._saved.weight))

    @property
    def programmed(self) -> CellWeights:
        chip = self._call.chip
        if chip is not None and not self._needs_dw:
            return self._array.held(chip)  # the chip is not programmed again for its values
        return self._programmed

    @property
    def _programmed(self) -> Programmed:
        if self._again is None:
            call, saved = self._call, self._saved
            self._again = self._array.programmed(
                *(saved.weight, call.chip_seed, call.age_s, saved.scale, call.cycle, call.attempts),
                saved.wired_uS,
            )
        return self._again

    def delta(self) -> _AtColumns:
        return _AtColumns(None)

    def delta_through_adc(self) -> _AtColumns:
        return _AtColumns(self._adc_mask)

    def _at(self, dz: _AtColumns, scale: Tensor | None) -> Tensor:
        """``dz`` times ``scale`` as a tensor, an operand of products; the last one is cached."""
        last = self._scattered
        if last is None or last[0] is not dz.mask or last[1] is not scale:
            # The bits of a serial input are added before they are rounded.
            dtype = self._products if self._planes is None else self._dy.dtype
            values = self._array.scatter_to_columns(self._dy, dz.mask, scale, dtype)
            self._scattered = last = (dz.mask, scale, values)
        return last[2]

    def at_input(self, dz: _AtColumns, weight: Tensor | CellWeights) -> Tensor | None:
        if not self._needs_dx:
            return None
        if isinstance(weight, Tensor):
            cells, at_columns = weight, self._at(dz, None)
        else:
            cells, at_columns = weight.values, self._at(dz, weight.scale)
        if self._planes is not None:  # straight through every bit
            dim, planes = self._tiling.vector_dim, self._planes
            at_columns = at_columns.unflatten(dim, (planes, -1)).sum(dim) / ((1 << planes) - 1)
        at_columns, cells = self._low(at_columns), self._low(cells)
        multiply = Product(split=self._array.rounds, wide=False)
        dx = self._tiling.input_grad(at_columns, cells, self._x_shape, multiply)
        self._at_rows = as_dtype(dx, self._dy.dtype)
        return self._at_rows

    def _low(self, operand: Tensor) -> Tensor:
        """``operand`` of a product in the dtype of the products."""
        return as_dtype(operand, self._products)

    def _at_cells(
        self, at_columns: Tensor, rows: Tensor, whole: bool, slot: str | None = None
    ) -> Tensor:
        """The outer product of a gradient at the columns and what drives the ``rows``, ``whole``
        numbers or not, in the dtype of the products and in the scratch memory ``slot`` if one is
        given."""
        multiply = Product(slot, self._array.rounds, (False, whole))
        return self._tiling.cells_grad(self._low(at_columns), rows, multiply)

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        if dx is None:
            return None
        x = self._saved.input if self._shares_input else None
        dx, self._by_dac_range = self._array.through_dac(
            dx, x, self._dac_mask, self._call.ranges, self._needs_dac
        )
        return dx

    def _steps(self, dtype: torch.dtype) -> Tensor:
        """The inputs in steps of the DAC; the next call may overwrite them."""
        if self._shares_input:
            return self._array.encode(self._saved.input, self._call.ranges, dtype)
        return self._array.decode(self._saved.input, self._output_gradient, dtype)

    @cached_property
    def _codes(self) -> Tensor:
        """What the rows are driven with, in the dtype of the products or as the bytes that they
        read: the inputs in steps of the DAC, or their bits."""
        if self._planes is None:
            return self._steps(self._byte or self._products)
        return self._low(bit_planes(self._steps(self._dy.dtype), self._planes))

    @property
    def _byte(self) -> torch.dtype | None:
        """The dtype of codes of one byte each, if the gradient of the cells reads them."""
        dac, columns = self._array.dac, self._saved.scale.shape[1]
        if dac is None or dac.storage.itemsize > 1 or self._products is not torch.float32:
            return None
        multiply = Product(split=self._array.rounds)
        reads = self._tiling.reads_bytes(self._saved.input, columns, multiply)
        return dac.storage if reads else None

    def _in_input_units(self, of_codes: Tensor) -> Tensor:
        dac = self._array.dac_codes(self._call.ranges)
        return of_codes if dac is None else of_codes * dac.size

    def straight_through(self, dz: _AtColumns) -> Tensor | None:
        if not self._needs_dw:
            return None
        array = self._array
        at_cells = self._at_cells(self._at(dz, None), self._codes, array.whole_codes)
        of_codes = as_dtype(at_cells, self._saved.weight.dtype)
        dw = self._in_input_units(of_codes)
        parts = array.mapping.significance()
        if len(parts) > 1:
            counted = torch.tensor(parts, dtype=dw.dtype, device=dw.device).view(-1, 1, 1)
            dw = array.join_slices((dw.unflatten(1, (len(parts), -1)) * counted).flatten(1, 2), 1)
        return self._tiling.from_cells(dw)

    def through_programming(self, dz: _AtColumns) -> Tensor | None:
        if not self._needs_dw:
            return None
        return self._through_programming(dz, self._codes, self._array.whole_codes)

    def _through_programming(self, dz: _AtColumns, rows: Tensor, whole: bool) -> Tensor:
        programmed = self._programmed
        at_columns, slot = self._at(dz, programmed.scale), programmed.gradient_slot
        gradient = self._at_cells(at_columns, rows, whole, slot)
        return programmed.vjp(gradient, self._array.dac_codes(self._call.ranges))

    def through_response(self) -> tuple[Tensor | None, Tensor | None]:
        if not self._array.bends:
            dz = self.delta_through_adc()
            dx = self.at_input(dz, self.programmed)
            return dx, self.through_programming(dz)
        if self._array.one_product:
            return self._through_one_product()
        call, saved = self._call, self._saved
        known = None if saved.wired_uS is None else Solution(saved.wired_uS, saved.scale)
        name = ChipName(call.chip_seed, call.age_s, call.cycle, call.attempts)
        operands = (self._array, self._steps(self._dy.dtype), saved.weight, call.ranges, name)
        wanted = (self._needs_dw, self._needs_dx)
        if self._array.sums_products:
            at_columns = self._low(self._at(self.delta_through_adc(), saved.scale))
            dx, dw = products_vjp(*operands, at_columns, *wanted, known)
        else:
            dy, mask = self._output_gradient, self._adc_mask
            dx, dw = response_vjp(*operands, dy, mask, call.precision, *wanted, known)
        self._at_rows = None if dx is None else dx.view(self._x_shape)
        return self._at_rows, dw

    def _through_one_product(self) -> tuple[Tensor | None, Tensor | None]:
        dz = self.delta_through_adc()
        with torch.enable_grad():
            codes = self._steps(self._dy.dtype).detach().requires_grad_(self._needs_dx)
            applied = self._array.applied(codes)
        dx = self.at_input(dz, self.programmed)
        if dx is not None:
            (dx,) = torch.autograd.grad(applied, codes, dx)
            self._at_rows = dx
        if not self._needs_dw:
            return dx, None
        return dx, self._through_programming(dz, self._low(applied.detach()), whole=False)

    def by_dac_range(self) -> Tensor:
        """Gradient of the DAC's range."""
        if self._by_dac_range is None:  # the rule does not mask the gradient at the rows
            assert self._at_rows is not None
            self.through_dac(self._at_rows.clone())
        assert self._by_dac_range is not None
        return self._by_dac_range

    def by_adc_range(self) -> Tensor:
        """Gradient of the ADC's ranges."""
        ranges, tiling, slope = self._call.ranges, self._tiling, self._saved.adc_slope
        assert slope is not None
        each = self._array.scatter_to_columns(self._dy, None, None, self._dy.dtype) * slope
        if self._planes is not None:
            each = self._in_input_units(each)
        by_column = tiling.by_column(each)
        summed = self._array.range_groups(by_column.shape[1]).summed(by_column)
        return summed.view(ranges.adc.shape)
