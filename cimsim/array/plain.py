"""The plain back end: every circuit, in torch, differentiable where gradients need it."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.chip import Solution, make_chip, program_and_age
from cimsim.array.circuit import Circuit
from cimsim.array.masks import Mask
from cimsim.array.telegraph import telegraph_currents
from cimsim.array.types import Chip, ConverterRanges, Programmed, Readout, SaveOptions
from cimsim.circuits.adc import distorted, distorts, looked_up
from cimsim.circuits.codes import CodeTable, fixed_table
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import shift_add
from cimsim.circuits.mapping import joined
from cimsim.circuits.wires import gated_currents
from cimsim.dtypes import as_dtype
from cimsim.kernels.types import Dac
from cimsim.physics.draws import normal
from cimsim.seeds import generator, seed_for


def chip(
    circuit: Circuit,
    weight: Tensor,
    seed: int,
    age_s: float,
    single_use: bool,
    cycle: int,
    attempts: Tensor | None = None,
) -> Chip:
    """See :meth:`cimsim.array.Array.chip`; ``weight`` and ``attempts`` are in cells."""
    return make_chip(weight, circuit.profile, seed, age_s, single_use, cycle, attempts=attempts)


class PlainProgrammed:
    """See :class:`cimsim.array.types.Programmed`: the physics under autograd."""

    gradient_slot: str | None = None

    def __init__(
        self,
        circuit: Circuit,
        weight: Tensor,
        seed: int,
        age_s: float,
        scale: Tensor,
        cycle: int,
        attempts: Tensor | None,
        wired_uS: Tensor | None,
    ) -> None:
        self.scale = scale
        mapping = circuit.mapping
        with torch.enable_grad():
            self._weight = weight.detach().requires_grad_()
            on_tiles = circuit.tiling.to_cells(self._weight)
            again = None if attempts is None else circuit.tiling.to_cells(attempts)
            name = (circuit.profile, seed, age_s, cycle, again)
            known = None if wired_uS is None else Solution(wired_uS, scale)
            cells = program_and_age(on_tiles, *name, known)
            self._values = mapping.weights(mapping.relative(cells.wired_uS))
            self._scale = cells.scale
        self.values = self._values.detach()

    def vjp(self, gradient: Tensor, dac: Dac | None) -> Tensor:
        """See :class:`cimsim.array.types.Programmed`."""
        gradient = as_dtype(gradient, self.values.dtype)
        if dac is not None:
            gradient = gradient * dac.size
        through_scale = (gradient * self.values).sum(-1, keepdim=True)
        d_scale = through_scale / nonzero(self.scale).unsqueeze(-1)
        (d_weight,) = torch.autograd.grad(
            (self._values, self._scale), self._weight, (gradient, d_scale)
        )
        return d_weight


def nonzero(scale: Tensor) -> Tensor:
    """``scale`` with 1 for the columns of zeros, which drift compensation can scale to 0."""
    return scale.where(scale != 0, 1.0)


def programmed(
    circuit: Circuit,
    weight: Tensor,
    seed: int,
    age_s: float,
    scale: Tensor,
    cycle: int,
    attempts: Tensor | None = None,
    wired_uS: Tensor | None = None,
) -> Programmed:
    """See :meth:`cimsim.array.Array.programmed`."""
    return PlainProgrammed(circuit, weight, seed, age_s, scale, cycle, attempts, wired_uS)


def read(
    circuit: Circuit,
    x: Tensor,
    chip: Chip,
    ranges: ConverterRanges,
    read_seed: int,
    bias: Tensor | None,
    save: SaveOptions,
    precision: torch.dtype | None,
) -> Readout:
    """See :meth:`cimsim.array.Array.mvm`."""
    tiling, adc, serial = circuit.tiling, circuit.adc, circuit.profile.dac.bit_serial
    dac = _encoded(circuit, x, ranges, save)
    out_step = x.new_ones(())
    if adc is not None:
        out_step = circuit.at_columns(ranges.adc, chip.scale.shape[1]) / adc.levels
    # The gain is folded into the cells, so that currents are in ADC steps.
    gain = (1.0 if serial else dac.step) / out_step
    drive = circuit.drive(dac.codes)
    z, reference = currents(circuit, drive, chip, gain, read_seed, precision)
    scale = tiling.per_column(chip.scale * out_step)
    adc_inside = adc_slope = None
    if adc is not None:
        before = z.clone() if save.by_adc_range else z
        want_inside = save.adc_mask or save.by_adc_range
        z, adc_inside = _digitized(
            circuit, z, adc, chip, read_seed, want_inside, drive.shape, ranges.adc_values
        )
        if save.by_adc_range and adc_inside is not None:
            steps = before * _readout_slope(circuit, before, chip)
            adc_slope = adc.range_slope(z, steps, adc_inside)
            adc_slope.mul_(tiling.per_column(chip.scale))
    if reference is not None:
        z = z - reference
    line = tiling.lines(z.shape).line
    z = z.mul_(scale)
    y = tiling.accumulate(circuit.join_slices(z, tiling.column_dim))
    if circuit.planes is not None:
        y = shift_add(y, circuit.planes) * dac.step
    if bias is not None:
        y = y + bias.view(-1, *[1] * (y.dim() - 2))
    dac_mask, adc_mask = dac.inside, adc_inside
    return Readout(
        y,
        circuit.compact(dac.codes) if save.codes else None,
        None if dac_mask is None or not save.dac_mask else Mask.pack(dac_mask, x.numel()),
        None if adc_mask is None or not save.adc_mask else Mask.pack(adc_mask, line),
        adc_slope,
    )


class _Encoded(NamedTuple):
    """Codes of an input, the input per code, and what was requested of the DAC."""

    codes: Tensor
    step: Tensor
    inside: Tensor | None = None


def _encoded(circuit: Circuit, x: Tensor, ranges: ConverterRanges, save: SaveOptions) -> _Encoded:
    dac = circuit.dac
    if dac is None:
        return _Encoded(x, x.new_ones(()))
    step = ranges.dac / dac.levels
    codes, inside = dac.encode(x / step, save.dac_mask)
    return _Encoded(codes, step, inside)


def encode(circuit: Circuit, x: Tensor, ranges: ConverterRanges, dtype: torch.dtype) -> Tensor:
    """See :meth:`cimsim.array.Array.encode`."""
    dac, codes = circuit.dac, circuit.dac_codes(ranges)
    assert dac is not None
    assert codes is not None
    return as_dtype(dac.encode(x / codes.size, want_inside=False)[0], dtype)


def decode(codes: Tensor, dtype: torch.dtype) -> Tensor:
    """See :meth:`cimsim.array.Array.decode`."""
    return codes.to(dtype)


def through_dac(
    circuit: Circuit,
    dx: Tensor,
    x: Tensor | None,
    mask: Mask | None,
    ranges: ConverterRanges,
    want_range: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :meth:`cimsim.array.Array.through_dac`."""
    if x is None:
        assert mask is not None
        return dx * mask.unpack(), None
    dac, coding = circuit.dac, circuit.dac_codes(ranges)
    assert dac is not None
    assert coding is not None
    steps = x / coding.size
    inside = dac.inside(steps)
    if not want_range:
        return dx * inside, None
    codes, _ = dac.encode(steps.clone(), want_inside=False)
    return dx * inside, (dx * dac.range_slope(codes, steps, inside)).sum()


def scatter_to_columns(
    circuit: Circuit, dy: Tensor, mask: Mask | None, scale: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """See :meth:`cimsim.array.Array.scatter_to_columns`."""
    slices = circuit.profile.array.slices
    dz = circuit.tiling.scatter(dy)
    if slices > 1:
        dz = torch.cat([dz] * slices, dim=circuit.tiling.column_dim)
    if mask is not None:
        dz = dz * mask.unpack()
    if scale is not None:
        dz = dz * circuit.tiling.per_column(scale)
    return as_dtype(dz, dtype)


def currents(
    circuit: Circuit,
    drive: Tensor,
    chip: Chip,
    gain: Tensor,
    read_seed: int | None,
    precision: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | None]:
    """See :meth:`cimsim.array.Array.currents`; ``precision`` is the dtype of the products."""
    mapping, tiling = circuit.mapping, circuit.tiling
    of_columns = gain = gain.expand(chip.scale.shape).unsqueeze(-1)
    gain = mapping.with_references(gain, 1.0)  # shared by columns, each of which has its gain
    z = _products(circuit, drive, chip, gain, precision)
    if read_seed is not None:
        z = _with_read_noise(circuit, z, drive, chip, gain, read_seed)
    own = tiling.per_column(of_columns.squeeze(-1))
    if mapping.digital_offset:
        middle = drive.new_full((tiling.tiles, 1, tiling.rows), mapping.digital_offset)
        return z, tiling.product(drive, middle) * own
    if not mapping.reference:
        return z, None
    dim = tiling.column_dim
    references = [of_tile.expand_as(held) for held, of_tile in mapping.by_reference(z, dim)]
    return mapping.without_references(z, dim) - joined(references, dim) * own, None


def _products(
    circuit: Circuit, drive: Tensor, chip: Chip, gain: Tensor, precision: torch.dtype | None
) -> Tensor:
    def product(u: Tensor, cells: Tensor) -> Tensor:
        if precision is None:
            return circuit.tiling.product(u, cells)
        return circuit.tiling.product(u.to(precision), cells.to(precision)).to(drive.dtype)

    if chip.gated_S is not None:
        z = _gated(circuit, drive, chip.gated_S, gain)
        return z if chip.straight is None else z + product(drive, chip.straight * gain)
    parts = [
        product(applied, relative * (gain * factor))
        for applied, relative, factor in circuit.factors(drive, chip.terms)
    ]
    return sum(parts[1:], parts[0])


def _gated(circuit: Circuit, bits: Tensor, g_S: Tensor, gain: Tensor) -> Tensor:
    """Currents of gated cells: of the rows with positive inputs, minus those of the rows with
    negative inputs.

    A row is on for a time proportional to its input's magnitude. In the interval between two
    successive magnitudes the same rows are on, so that each interval is one solution of the lines.
    """
    wires, mapping, tiling = circuit.profile.wires, circuit.mapping, circuit.tiling
    assert wires is not None
    rows = tiling.row_inputs(bits)
    magnitudes = [m for m in rows.abs().unique().tolist() if m > 0]  # ascending
    net_S: Tensor | None = None
    for below, magnitude in pairwise([0.0, *magnitudes]):
        for sign in (1, -1):
            part_S = gated_currents(
                rows * sign >= magnitude,
                g_S,
                r_bit_ohm=wires.strength * wires.r_bit_ohm,
                r_sink_ohm=wires.strength * wires.r_sink_ohm,
                r_supply_ohm=wires.strength * wires.r_supply_ohm,
            )
            part_S = part_S * ((magnitude - below) * sign)
            net_S = part_S if net_S is None else net_S.add_(part_S)
    if net_S is None:
        return tiling.product(bits, g_S.new_zeros(g_S.shape[1:]).transpose(-1, -2))
    net_uS = net_S.transpose(-1, -2) * 1e6
    relative = mapping.signed(net_uS).sum(0)
    if mapping.analog_offset:
        relative = relative - rows.sum(-1).unsqueeze(1) * mapping.analog_offset
    return tiling.from_columns(relative * gain, bits.shape)


def _with_read_noise(
    circuit: Circuit, z: Tensor, drive: Tensor, chip: Chip, gain: Tensor, read_seed: int
) -> Tensor:
    tiling = circuit.tiling
    if chip.read_variance is not None:
        # A chip of the kernels may have variances in bf16.
        cells = chip.read_variance.to(drive.dtype)
        variance = tiling.product(drive.square(), cells * gain.square())
        sigma = variance.clamp_min_(0.0).sqrt_()  # fast convolutions can round below zero
        z = _noisy(z, sigma, seed_for(read_seed, "cells"))
    if chip.traps:
        rows = tiling.row_inputs(drive)
        for index, traps in enumerate(chip.traps):
            draws = generator(read_seed, "telegraph", index, device=z.device)
            steps = telegraph_currents(rows, traps, draws)
            columns = steps.shape[1]
            z.narrow(tiling.column_dim, 0, columns).add_(
                tiling.from_columns(steps * gain[:, :columns], drive.shape)
            )
    return z


def _digitized(
    circuit: Circuit,
    z: Tensor,
    adc: Converter,
    chip: Chip,
    read_seed: int,
    want_inside: bool,
    drive_shape: torch.Size,
    fitted_values: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Codes of currents that are in ADC steps; and which of them did not saturate."""
    tiling, model, errors = circuit.tiling, circuit.profile.adc, chip.adc
    own = gain_and_offset(circuit, chip)

    def noise(index: int, like: Tensor) -> Tensor:
        return normal(like, seed_for(read_seed, "adc", index))

    z = distorted(z, model, adc.levels, *own, circuit.profile.temperature_C, noise)
    if model.noise_of_range:
        steps = z.new_tensor(model.noise_of_range * adc.levels)
        z = _noisy(z, steps, seed_for(read_seed, "adc"))
    table = fixed_table(model, z)
    if fitted_values is not None:
        table = CodeTable.nearest(fitted_values)
    if table is not None:
        u = z / adc.levels
        inside = table.inside(u) if want_inside else None
        return table.coded(u).mul_(adc.levels), inside
    if errors is None or errors.thresholds is None:
        return adc.encode(z, want_inside)
    _, inside = adc.encode(z.clone(), want_inside)
    codes = looked_up(tiling.by_column(z), errors.thresholds, adc.lowest)
    return tiling.from_columns(codes, drive_shape), inside


def gain_and_offset(circuit: Circuit, chip: Chip) -> tuple[Tensor | None, Tensor | None]:
    """Static errors of every column's ADC, in a shape that broadcasts to the currents."""
    if chip.adc is None:
        return None, None
    gain, offset = (
        None if value is None else circuit.tiling.per_column(value)
        for value in (chip.adc.gain, chip.adc.offset)
    )
    return gain, offset


def _readout_slope(circuit: Circuit, z: Tensor, chip: Chip) -> Tensor:
    """Derivative of the readout before the conversion by each current in ``z``, in ADC steps."""
    adc, model = circuit.adc, circuit.profile.adc
    assert adc is not None
    if not distorts(model):
        return z.new_ones(())
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        own = gain_and_offset(circuit, chip)
        after = distorted(z.clone(), model, adc.levels, *own, circuit.profile.temperature_C)
        (slope,) = torch.autograd.grad(after.sum(), z)
    return slope


def _noisy(z: Tensor, sigma: Tensor, seed: int) -> Tensor:
    return z.addcmul_(normal(z, seed), sigma)
