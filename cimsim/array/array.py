"""A weight matrix on tiles of cells: ``chip`` programs and ages it, ``mvm`` multiplies with it.

What flows through: weights are scaled, laid on cells in µS, programmed with noise and aged. An
input is coded by the DAC, multiplied tile by tile, disturbed by read noise, coded by the ADC, and
summed and scaled digitally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.chip import Chip, hold, make_chip
from cimsim.array.telegraph import telegraph_currents
from cimsim.array.tiling import Tiling
from cimsim.circuits.adc import adc_converter, distorted, looked_up
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import analog_levels, bit_planes, dac_converter, shift_add
from cimsim.circuits.mapping import Mapping
from cimsim.circuits.wires import gated_currents
from cimsim.profile import Profile
from cimsim.seeds import generator


class ConverterRanges(NamedTuple):
    """Full scales: of the DAC, a scalar in the units of the layer's input; of the ADC, a scalar or
    one for each tile, in units of relative weight times input (a bit of it, if it is serial)."""

    dac: Tensor
    adc: Tensor


class Readout(NamedTuple):
    """A multiplication's result ``y``, and what a backward rule may want to know about it.

    ``codes`` is the input as the DAC coded it (the input itself where the DAC is ideal);
    ``dac_inside`` and ``adc_inside`` mark what did not saturate (None where a converter is ideal).
    ``range_slopes`` are the derivatives of what came out of the converters by their ranges, where
    those are wanted: of every input, and of every current in units of the output.
    """

    y: Tensor
    codes: Tensor
    dac_inside: Tensor | None
    adc_inside: Tensor | None
    range_slopes: tuple[Tensor | None, Tensor | None] = (None, None)


@dataclass(frozen=True)
class Array:
    """A layer's weights on the device of ``profile``, laid out by ``tiling``. Holds no state."""

    profile: Profile
    tiling: Tiling

    @property
    def dac(self) -> Converter | None:
        """The input converter; None if it is ideal."""
        return dac_converter(self.profile.dac)

    @property
    def adc(self) -> Converter | None:
        """The output converter; None if it is ideal."""
        return adc_converter(self.profile.adc)

    @property
    def mapping(self) -> Mapping:
        """How a weight becomes conductances."""
        return Mapping(self.profile.cell, self.profile.array)

    def chip(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Chip:
        """Program ``weight`` on the chip named by ``seed`` and let it wait ``age_s`` seconds."""
        return make_chip(self.tiling.to_cells(weight), self.profile, seed, age_s)

    def effective_weight(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Tensor:
        """``W_prog``: what the chip's columns really hold, ``[tiles, slices * columns, rows]``.

        In weight units, compensation included; the slices of an output add up to its weight.
        Differentiable in ``weight`` at fixed draws, where grad mode is on.
        """
        cells = hold(self.tiling.to_cells(weight), self.profile, seed, age_s)
        mapping = self.mapping
        return mapping.weights(mapping.relative(cells.wired_uS)) * cells.scale

    def held_weight(self, chip: Chip) -> Tensor:
        """The weights that ``chip`` stands for, in the shape of the layer's own."""
        columns = self.mapping.weights(chip.relative) * chip.scale.unsqueeze(-1)
        return self.tiling.from_cells(self.join_slices(columns, 1))

    def over_slices(self, weight: Tensor) -> Tensor:
        """``weight [tiles, columns, rows]`` at the columns of its slices, by their significance."""
        parts = self.mapping.significance()
        return weight if len(parts) == 1 else torch.cat([weight * part for part in parts], dim=1)

    def join_slices(self, values: Tensor, dim: int) -> Tensor:
        """Sum over the slices, which lie in dimension ``dim`` before the columns."""
        slices = self.profile.array.slices
        return values if slices == 1 else values.unflatten(dim, (slices, -1)).sum(dim)

    def mvm(
        self,
        x: Tensor,
        chip: Chip,
        ranges: ConverterRanges,
        read_seed: int,
        want_slopes: bool = True,
        want_range_slopes: tuple[bool, bool] = (False, False),
    ) -> Readout:
        """Multiply: DAC, products per tile, read noise, ADC, digital accumulation.

        Args:
            x: inputs in the shape that the tiling's ``product`` takes.
            chip: from :meth:`chip`.
            ranges: of the converters; not looked at where a converter is ideal.
            read_seed: names the draw of the read noise, new for every input vector.
            want_slopes: whether the masks of the saturating converters are needed.
            want_range_slopes: whether the derivatives by the ranges of DAC and ADC are.
        """
        tiling, dac, adc = self.tiling, self.dac, self.adc
        codes, dac_inside, adc_inside = x, None, None
        dac_slope = adc_slope = None
        in_step = out_step = x.new_ones(())
        if dac is not None:
            in_step = ranges.dac / dac.levels
            steps = x / in_step
            codes, dac_inside = dac.encode(steps, want_slopes or want_range_slopes[0])
            if want_range_slopes[0] and dac_inside is not None:
                dac_slope = _range_slope(codes, steps, dac_inside, dac)
        if adc is not None:
            out_step = (ranges.adc / adc.levels).unsqueeze(-1).expand(chip.scale.shape)
        serial = self.profile.dac.bit_serial
        # Folded into the cells, so that currents come in ADC steps.
        gain = (1.0 if serial else in_step) / out_step
        drive = self.drive(codes)
        z, reference = self.currents(drive, chip, gain, read_seed)
        scale = tiling.per_column(chip.scale * out_step)
        if adc is not None:
            before = z.clone() if want_range_slopes[1] else z
            wanted = want_slopes or want_range_slopes[1]
            z, adc_inside = self._converted(z, adc, chip, read_seed, wanted, drive.shape)
            if want_range_slopes[1] and adc_inside is not None:
                adc_slope = _range_slope(z, before, adc_inside, adc)
                adc_slope.mul_(tiling.per_column(chip.scale))
        if reference is not None:
            z = z - reference
        z = z.mul_(scale)
        y = tiling.accumulate(self.join_slices(z, tiling.column_dim))
        if serial:
            assert dac is not None
            y = shift_add(y, dac.bits) * in_step
        return Readout(y, codes, dac_inside, adc_inside, (dac_slope, adc_slope))

    @property
    def plain_drive(self) -> bool:
        """Whether the rows are driven in proportion to the input, so that its scale drops out."""
        profile = self.profile
        bent = profile.cell.iv is not None and profile.cell.iv.strength > 0
        return not (profile.dac.bit_serial or bent or any(e.strength for e in profile.dac.errors))

    def drive(self, codes: Tensor) -> Tensor:
        """What the rows are driven with, in DAC steps (in bits, one plane after the other, if the
        DAC is serial); ``codes`` themselves where nothing is wrong with the levels."""
        dac = self.profile.dac
        if dac.bit_serial and dac.bits is not None:
            return bit_planes(codes, dac.bits)
        return analog_levels(dac, codes)

    def currents(
        self, drive: Tensor, chip: Chip, gain: Tensor, read_seed: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Currents of the columns as the ADC meets them, and what is subtracted behind it.

        ``gain`` (scalar or ``[tiles, columns]``) multiplies the relative currents of ``drive``;
        read noise is drawn unless ``read_seed`` is None.
        """
        mapping, tiling = self.mapping, self.tiling
        gain = gain.expand(chip.scale.shape).unsqueeze(-1)
        if mapping.reference:  # shared by the columns of a tile, and with them its gain
            gain = torch.cat((gain, gain[:, :1]), dim=1)
        z = self._products(drive, chip, gain)
        if read_seed is not None:
            z = self._disturbed(z, drive, chip, gain, read_seed)
        if not mapping.reference:
            return z, None
        columns = z.shape[tiling.column_dim] - 1
        z, reference = z.split((columns, 1), dim=tiling.column_dim)
        return (z, reference) if mapping.digital_reference else (z - reference, None)

    def _products(self, drive: Tensor, chip: Chip, gain: Tensor) -> Tensor:
        if chip.gated_S is not None:
            return self._gated(drive, chip.gated_S, gain)
        first, *others = chip.terms
        if first.shape is None:
            return self.tiling.product(drive, first.relative * gain)
        # Shapes take the voltage over its full scale; a serial DAC's bits are at full scale.
        dac = self.dac
        assert dac is not None
        full = 1 if self.profile.dac.bit_serial else dac.levels
        u = drive / full
        z = self.tiling.product(first.shape(u), first.relative * (gain * full))
        for shape, relative in others:
            assert shape is not None
            z = z + self.tiling.product(shape(u), relative * (gain * full))
        return z

    def _gated(self, bits: Tensor, g_S: Tensor, gain: Tensor) -> Tensor:
        """Currents of gated cells: the rows whose bit is +1, less those whose bit is -1."""
        wires, mapping = self.profile.wires, self.mapping
        assert wires is not None
        rows = self.tiling.row_inputs(bits)
        each_S = [
            gated_currents(
                rows == sign,
                g_S,
                r_bit_ohm=wires.strength * wires.r_bit_ohm,
                r_sink_ohm=wires.strength * wires.r_sink_ohm,
                r_supply_ohm=wires.strength * wires.r_supply_ohm,
            )
            for sign in (1, -1)
        ]
        net_uS = (each_S[0] - each_S[1]).transpose(-1, -2) * 1e6
        relative = mapping.signed(net_uS).sum(0)
        if mapping.digital_reference:
            offset = rows.sum(-1).unsqueeze(1) * mapping.digital_offset
            relative = torch.cat((relative, offset), dim=1)
        return self.tiling.from_columns(relative * gain, bits.shape)

    def _disturbed(
        self, z: Tensor, drive: Tensor, chip: Chip, gain: Tensor, read_seed: int
    ) -> Tensor:
        tiling = self.tiling
        if chip.read_variance is not None:
            variance = tiling.product(drive.square(), chip.read_variance * gain.square())
            sigma = variance.clamp_min_(0.0).sqrt_()  # fast convolutions can round below zero
            z = _noisy(z, sigma, generator(read_seed, "cells", device=z.device))
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

    def _converted(
        self,
        z: Tensor,
        adc: Converter,
        chip: Chip,
        read_seed: int,
        want_slopes: bool,
        drive_shape: torch.Size,
    ) -> tuple[Tensor, Tensor | None]:
        """Codes of currents that come in ADC steps, and which of them did not saturate."""
        tiling, model = self.tiling, self.profile.adc
        state = chip.adc
        gain, offset = (
            None if value is None else tiling.per_column(value)
            for value in ((state.gain, state.offset) if state is not None else (None, None))
        )
        z = distorted(z, model, adc.levels, gain, offset, self.profile.temperature_C)
        if model.noise_of_range:
            steps = z.new_tensor(model.noise_of_range * adc.levels)
            z = _noisy(z, steps, generator(read_seed, "adc", device=z.device))
        if state is None or state.thresholds is None:
            return adc.encode(z, want_slopes)
        _, inside = adc.encode(z.clone(), want_slopes)
        codes = looked_up(tiling.by_column(z), state.thresholds, adc.lowest)
        return tiling.from_columns(codes, drive_shape), inside


def _range_slope(codes: Tensor, steps: Tensor, inside: Tensor, converter: Converter) -> Tensor:
    """``d(code * step) / d(range)`` of every value, the rounding passed straight through."""
    return (codes - steps.where(inside, 0.0)) / converter.levels


def _noisy(z: Tensor, sigma: Tensor, draws: torch.Generator) -> Tensor:
    noise = torch.empty_like(z).normal_(generator=draws)
    return z.addcmul_(noise, sigma)
