"""A weight matrix on tiles of cells: ``chip`` programs and ages it, ``mvm`` multiplies with it.

What flows through: weights are scaled, laid on cells in µS, programmed with noise and aged. An
input is coded by the DAC, multiplied tile by tile, disturbed by read noise, coded by the ADC, and
summed and scaled digitally.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array import fused
from cimsim.array.chip import Chip, hold, make_chip
from cimsim.array.masks import Mask
from cimsim.array.programmed import PlainlyProgrammed, Programmed
from cimsim.array.telegraph import telegraph_currents
from cimsim.array.tiling import Tiling
from cimsim.circuits.adc import adc_converter, distorted, looked_up
from cimsim.circuits.codes import CodeTable, fixed_table
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import analog_levels, bit_planes, dac_converter, shift_add
from cimsim.circuits.mapping import Mapping, weight_scale
from cimsim.circuits.range_groups import RangeGroups
from cimsim.circuits.wires import gated_currents
from cimsim.errors import CimsimError
from cimsim.kernels import Recipe, active, native, not_programmed
from cimsim.kernels import recipe as recipe_of
from cimsim.physics.draws import normal
from cimsim.physics.programming import programming_sigma_uS, reachable_uS
from cimsim.profile import Profile, TelegraphReadNoise, UniformCodes
from cimsim.seeds import generator, seed_for


class ConverterRanges(NamedTuple):
    """Full scales: of the DAC, a scalar in the units of the layer's input; of the ADC, one or
    several (see :class:`cimsim.circuits.range_groups.RangeGroups`) in units of relative weight
    times input (a bit of it, if it is serial). ``adc_values`` are those of the codes over the
    range, where they were fitted to the layer's data."""

    dac: Tensor
    adc: Tensor
    adc_values: Tensor | None = None


class Wanted(NamedTuple):
    """What a multiplication shall leave for its backward rule: the masks of the saturating
    converters, the input's codes, the derivatives by the ranges of DAC and ADC."""

    adc_mask: bool = True
    dac_mask: bool = True
    codes: bool = True
    by_range: tuple[bool, bool] = (False, False)


NOTHING = Wanted(adc_mask=False, dac_mask=False, codes=False)


class Readout(NamedTuple):
    """A multiplication's result ``y``, and what was wanted of it; None for what was not.

    ``codes`` is the input as the DAC coded it, in the smallest type that holds it (the input itself
    where the DAC is ideal); ``dac_inside`` and ``adc_inside`` mark what did not saturate (None
    where a converter is ideal). ``range_slopes`` are the derivatives of what came out of the
    converters by their ranges: of every input, and of every current in units of the output.
    """

    y: Tensor
    codes: Tensor | None = None
    dac_inside: Mask | None = None
    adc_inside: Mask | None = None
    range_slopes: tuple[Tensor | None, Tensor | None] = (None, None)


@dataclass(frozen=True)
class Array:
    """A layer's weights on the device of ``profile``, laid out by ``tiling``. Holds no state.

    ``unsigned`` inputs have no sign, where the profile's DAC can do without.
    """

    profile: Profile
    tiling: Tiling
    unsigned: bool = False

    @cached_property
    def dac(self) -> Converter | None:
        """The input converter; None if it is ideal."""
        return dac_converter(self.profile.dac, self.unsigned)

    @property
    def planes(self) -> int | None:
        """How many bits of an input are sent one by one; None if they are sent at once."""
        return self.dac.planes if self.dac is not None and self.profile.dac.bit_serial else None

    def range_groups(self, columns: int) -> RangeGroups:
        """Which of the physical ``columns`` of each tile share a full scale of their ADCs."""
        per, slices = self.profile.adc.range_per, self.profile.array.slices
        return RangeGroups(per, self.tiling.tiles, slices, columns // slices)

    @cached_property
    def adc(self) -> Converter | None:
        """The output converter; None if it is ideal."""
        return adc_converter(self.profile.adc)

    @cached_property
    def mapping(self) -> Mapping:
        """How a weight becomes conductances."""
        return Mapping(self.profile.cell, self.profile.array)

    @cached_property
    def recipe(self) -> Recipe | None:
        """The cells' physics for the fused kernel; None if it does not cover this device."""
        return recipe_of(self.profile)

    def chip(
        self,
        weight: Tensor,
        seed: int,
        age_s: float = 0.0,
        passing: bool = False,
        cycle: int = 0,
    ) -> Chip:
        """Program ``weight`` on the chip named by ``seed`` and let it wait ``age_s`` seconds.

        ``cycle`` counts how often the chip was written before.
        A ``passing`` chip is used up before this thread makes the next one: its memory is shared,
        and its slow read noise is drawn without a correlation between ages.
        """
        cells = self.tiling.to_cells(weight)
        if self.recipe is not None and active(cells) is native:
            return fused.chip(cells, self.profile, self.recipe, seed, age_s, passing, cycle)
        return make_chip(cells, self.profile, seed, age_s, passing, cycle)

    def programmed(
        self, weight: Tensor, seed: int, age_s: float, scale: Tensor, cycle: int = 0
    ) -> Programmed:
        """What :meth:`chip` put on the cells, with the way back for gradients; ``scale`` is that of
        the chip."""
        where = (self.tiling, self.profile)
        if (
            self.recipe is not None
            and self.profile.array.weight_scale == "column"
            and active(weight) is native
        ):
            return fused.FusedProgrammed(
                *(*where, self.recipe.of_weights, weight, seed, age_s, scale, cycle)
            )
        return PlainlyProgrammed(*where, weight, seed, age_s, scale, cycle)

    def effective_weight(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Tensor:
        """``W_prog``: what the chip's columns really hold, ``[tiles, slices * columns, rows]``.

        In weight units, compensation included; the slices of an output add up to its weight.
        Differentiable in ``weight`` at fixed draws, where grad mode is on.
        """
        cells = hold(self.tiling.to_cells(weight), self.profile, seed, age_s)
        mapping = self.mapping
        return mapping.weights(mapping.relative(cells.wired_uS)) * cells.scale

    def programming_variance(self, weight: Tensor) -> Tensor:
        """Variance of each weight right after programming, in its shape and its units squared.

        The sum over the weight's cells of the squared spreads of all programming noise, before
        anything is clamped or verified. Differentiable in ``weight``, also through the scale.

        Raises:
            CimsimError: for a device that shares a weight out over several slices, whose pairs
                correct each other, or whose cells vary by their place.
        """
        cell, mapping = self.profile.cell, self.mapping
        if any(effect.strength for effect in cell.variation):
            raise CimsimError("the variance of a weight under 'cell.variation' is not worked out")
        if self.profile.array.slices > 1:
            raise CimsimError("the variance of a weight over several slices is not worked out")
        if mapping.corrections():
            raise CimsimError("the variance of a weight that pairs correct is not worked out")
        cells = self.tiling.to_cells(weight)
        scale = weight_scale(cells, self.profile.array.weight_scale)
        g_uS = reachable_uS(mapping.conductances(cells / scale), cell)
        variance = torch.zeros_like(g_uS)
        for effect in cell.programming_noise:
            if effect.strength:
                variance = variance + programming_sigma_uS(effect, g_uS, cell).square()
        columns = mapping.variances(variance)
        if mapping.reference:
            columns = columns[:, :-1] + columns[:, -1:]
        return self.tiling.from_cells(columns * scale.square())

    def held_weight(self, chip: Chip) -> Tensor:
        """The weights that ``chip`` holds, with its slow read noise, in the shape of the layer's
        weight."""
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
        bias: Tensor | None = None,
        wanted: Wanted = Wanted(),  # noqa: B008
        precision: torch.dtype | None = None,
    ) -> Readout:
        """Multiply: DAC, products per tile, read noise, ADC, digital accumulation.

        Args:
            x: inputs in the shape that the tiling's ``product`` takes.
            chip: from :meth:`chip`.
            ranges: of the converters; not looked at where a converter is ideal.
            read_seed: names the draw of the read noise, new for every input vector.
            bias: one number for each output, added digitally.
            wanted: what to return beside the result.
            precision: dtype of the products, that of ``x`` if None; all else is done in that of
                ``x``.
        """
        kernels = active(x, chip.relative, bias) if self._fused_read(wanted) else None
        if kernels is not None:
            return fused.read(kernels, self, x, chip, ranges, read_seed, bias, wanted, precision)
        return self._read(x, chip, ranges, read_seed, bias, wanted, precision)

    def _fused_read(self, wanted: Wanted) -> bool:
        """Whether the kernels cover this readout."""
        return not (self.not_read or any(wanted.by_range))

    @cached_property
    def not_read(self) -> tuple[str, ...]:
        """What keeps the readout off the kernels, by the names of the profile's settings.

        They cover uniform converters, with nothing but the tiles summed up digitally.
        """
        cell, dac, wires = self.profile.cell, self.profile.dac, self.profile.wires
        adc_errors = any(error.strength for error in self.profile.adc.errors)
        gated = wires is not None and wires.strength > 0 and wires.cells == "gated"
        traps = (e for e in cell.read_noise if isinstance(e, TelegraphReadNoise) and not e.slow)
        settings = {
            "array.mapping": self.mapping.reference or self.mapping.digital_offset != 0,
            "array.slices": self.profile.array.slices > 1,
            "cell.iv": cell.iv is not None and cell.iv.strength > 0,
            "cell.read_noise": any(effect.strength for effect in traps),
            "dac.bit_serial": dac.bit_serial,
            "dac.errors": any(error.strength for error in dac.errors),
            "adc.bits": self.adc is None or self.profile.adc.bits == 1,
            "adc.codes": not isinstance(self.profile.adc.codes, UniformCodes),
            "adc.errors": adc_errors,
            "wires": gated,
        }
        return tuple(name for name, is_set in settings.items() if is_set)

    @property
    def not_fused(self) -> tuple[str, ...]:
        """The settings of the profile for which plain torch computes, instead of the kernels."""
        return tuple(sorted({*not_programmed(self.profile), *self.not_read}))

    def _read(
        self,
        x: Tensor,
        chip: Chip,
        ranges: ConverterRanges,
        read_seed: int,
        bias: Tensor | None,
        wanted: Wanted,
        precision: torch.dtype | None,
    ) -> Readout:
        """:meth:`mvm` in plain torch, for every device."""
        tiling, dac, adc = self.tiling, self.dac, self.adc
        codes, dac_inside, adc_inside = x, None, None
        dac_slope = adc_slope = None
        in_step = out_step = x.new_ones(())
        if dac is not None:
            in_step = ranges.dac / dac.levels
            steps = x / in_step
            codes, dac_inside = dac.encode(steps, wanted.dac_mask or wanted.by_range[0])
            if wanted.by_range[0] and dac_inside is not None:
                dac_slope = _range_slope(codes, steps, dac_inside, dac)
        if adc is not None:
            out_step = self._at_columns(ranges.adc, chip) / adc.levels
        serial = self.profile.dac.bit_serial
        # Folded into the cells, so that currents come in ADC steps.
        gain = (1.0 if serial else in_step) / out_step
        drive = self.drive(codes)
        z, reference = self.currents(drive, chip, gain, read_seed, precision)
        scale = tiling.per_column(chip.scale * out_step)
        if adc is not None:
            before = z.clone() if wanted.by_range[1] else z
            want_inside = wanted.adc_mask or wanted.by_range[1]
            state = (chip, read_seed, want_inside, drive.shape, ranges.adc_values)
            z, adc_inside = self._converted(z, adc, *state)
            if wanted.by_range[1] and adc_inside is not None:
                adc_slope = _range_slope(z, before, adc_inside, adc)
                adc_slope.mul_(tiling.per_column(chip.scale))
        if reference is not None:
            z = z - reference
        line = tiling.lines(z.shape).line
        z = z.mul_(scale)
        y = tiling.accumulate(self.join_slices(z, tiling.column_dim))
        if serial:
            assert self.planes is not None
            y = shift_add(y, self.planes) * in_step
        if bias is not None:
            y = y + bias.view(-1, *[1] * (y.dim() - 2))
        return Readout(
            y,
            self.stored(codes) if wanted.codes else None,
            None if dac_inside is None or not wanted.dac_mask else Mask.pack(dac_inside, x.numel()),
            None if adc_inside is None or not wanted.adc_mask else Mask.pack(adc_inside, line),
            (dac_slope, adc_slope),
        )

    def _at_columns(self, full_scales: Tensor, chip: Chip) -> Tensor:
        """``full_scales`` at every column of ``chip``, ``[tiles, columns]``."""
        return self.range_groups(chip.scale.shape[1]).of_columns(full_scales)

    def currents_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the currents for an output of ``y_shape``, slices and bit planes included."""
        shape = list(self.tiling.currents_shape(y_shape))
        shape[self.tiling.column_dim] *= self.profile.array.slices
        shape[self.tiling.vector_dim] *= self.planes or 1
        return tuple(shape)

    def stored(self, codes: Tensor) -> Tensor:
        """``codes`` in the smallest type that holds them."""
        return codes if self.dac is None else codes.to(self.dac.storage)

    def widened(self, codes: Tensor, like: Tensor) -> Tensor:
        """:meth:`stored` codes in the dtype of ``like``; to be used up before the next."""
        kernels = active(like)
        if codes.dtype != like.dtype and kernels is not None:
            wide: Tensor = kernels.empty("codes", codes.shape, like, like.dtype)
            return wide.copy_(codes)
        return codes.to(like.dtype)

    # What backward rules need: the transposes of the converters.

    def step(self, ranges: ConverterRanges) -> native.Dac | None:
        """What a code of the DAC is worth; None if it is ideal."""
        if self.dac is None:
            return None
        return native.Dac(ranges.dac, self.dac.levels, self.dac.lowest)

    def encode(self, x: Tensor, ranges: ConverterRanges) -> Tensor:
        """The codes of ``x`` once more, as :meth:`mvm` multiplied them; to be used up before the
        next."""
        step = self.step(ranges)
        if self.dac is None or step is None:
            return x
        kernels = active(x)
        if kernels is not None:
            codes: native.Codes = kernels.encode(x.contiguous(), step)
            return codes.values
        return self.dac.encode(x / step.size, want_inside=False)[0]

    def through_dac(
        self, dx: Tensor, x: Tensor | None, mask: Mask | None, ranges: ConverterRanges
    ) -> Tensor:
        """``dx`` where the DAC did not saturate, by its mask or else by the input ``x``; 0
        elsewhere. May overwrite ``dx``."""
        step = self.step(ranges)
        if step is None or (x is None and mask is None):
            return dx
        kernels = active(dx, x)
        if kernels is not None:
            return fused.through_dac(kernels, dx, x, mask, step)
        if x is not None:
            assert self.dac is not None
            return dx * self.dac.inside(x / step.size)
        assert mask is not None
        return dx * mask.unpack()

    def spread(self, dy: Tensor, mask: Mask | None, scale: Tensor | None) -> Tensor:
        """``mask * scale * dy`` at every column of every tile and slice, shaped like the currents.

        ``scale [tiles, columns]``; None for a mask or scale of ones. To be used up before the next.
        """
        slices = self.profile.array.slices
        kernels = active(dy, scale) if slices == 1 else None
        if kernels is not None:
            return fused.spread(kernels, self.tiling, dy, mask, scale)
        dz = self.tiling.spread(dy)
        if slices > 1:
            dz = torch.cat([dz] * slices, dim=self.tiling.column_dim)
        if mask is not None:
            dz = dz * mask.unpack()
        return dz if scale is None else dz * self.tiling.per_column(scale)

    @property
    def plain_drive(self) -> bool:
        """Whether the rows are driven in proportion to the input, so that its scale drops out."""
        profile = self.profile
        bent = profile.cell.iv is not None and profile.cell.iv.strength > 0
        return not (profile.dac.bit_serial or bent or any(e.strength for e in profile.dac.errors))

    def drive(self, codes: Tensor) -> Tensor:
        """What the rows are driven with, in DAC steps (in bits, one plane after the other, if the
        DAC is serial); ``codes`` themselves where nothing is wrong with the levels."""
        if self.planes is not None:
            return bit_planes(codes, self.planes)
        return (
            codes if self.dac is None else analog_levels(self.profile.dac, codes, self.dac.levels)
        )

    def currents(
        self,
        drive: Tensor,
        chip: Chip,
        gain: Tensor,
        read_seed: int | None,
        precision: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Currents of the columns as the ADC meets them, and what is subtracted behind it.

        ``gain`` (scalar or ``[tiles, columns]``) multiplies the relative currents of ``drive``;
        read noise is drawn unless ``read_seed`` is None.
        """
        mapping, tiling = self.mapping, self.tiling
        of_columns = gain = gain.expand(chip.scale.shape).unsqueeze(-1)
        if mapping.reference:  # shared by the columns of a tile, each of which has its gain
            gain = torch.cat((gain, torch.ones_like(gain[:, :1])), dim=1)
        z = self._products(drive, chip, gain, precision)
        if read_seed is not None:
            z = self._disturbed(z, drive, chip, gain, read_seed)
        own = tiling.per_column(of_columns.squeeze(-1))
        if mapping.digital_offset:
            middle = drive.new_full((tiling.tiles, 1, tiling.rows), mapping.digital_offset)
            return z, tiling.product(drive, middle) * own
        if not mapping.reference:
            return z, None
        columns = z.shape[tiling.column_dim] - 1
        z, reference = z.split((columns, 1), dim=tiling.column_dim)
        return z - reference * own, None

    def _products(
        self, drive: Tensor, chip: Chip, gain: Tensor, precision: torch.dtype | None
    ) -> Tensor:
        def product(u: Tensor, cells: Tensor) -> Tensor:
            if precision is None:
                return self.tiling.product(u, cells)
            return self.tiling.product(u.to(precision), cells.to(precision)).to(drive.dtype)

        if chip.gated_S is not None:
            z = self._gated(drive, chip.gated_S, gain)
            return z if chip.straight is None else z + product(drive, chip.straight * gain)
        # Shapes take the voltage over its full scale; a serial DAC's bits are at full scale.
        full = 1 if self.dac is None or self.profile.dac.bit_serial else self.dac.levels
        parts = [
            product(drive, relative * gain)
            if shape is None
            else product(shape(drive / full), relative * (gain * full))
            for shape, relative in chip.terms
        ]
        return sum(parts[1:], parts[0])

    @staticmethod
    def _sizes(rows: Tensor) -> list[float]:
        """The different magnitudes of inputs, ascending: for so long rows are on."""
        sizes: list[float] = rows.abs().unique().tolist()
        return [size for size in sizes if size > 0]

    def _gated(self, bits: Tensor, g_S: Tensor, gain: Tensor) -> Tensor:
        """Currents of gated cells: of the rows whose input is above 0, less those of the others,
        each for as long as they are on."""
        wires, mapping = self.profile.wires, self.mapping
        assert wires is not None
        rows = self.tiling.row_inputs(bits)
        net_S: Tensor | None = None
        for below, size in pairwise([0.0, *self._sizes(rows)]):
            for sign in (1, -1):
                seen_S = gated_currents(
                    rows * sign >= size,
                    g_S,
                    r_bit_ohm=wires.strength * wires.r_bit_ohm,
                    r_sink_ohm=wires.strength * wires.r_sink_ohm,
                    r_supply_ohm=wires.strength * wires.r_supply_ohm,
                )
                seen_S = seen_S * ((size - below) * sign)
                net_S = seen_S if net_S is None else net_S.add_(seen_S)
        if net_S is None:
            return self.tiling.product(bits, g_S.new_zeros(g_S.shape[1:]).transpose(-1, -2))
        net_uS = net_S.transpose(-1, -2) * 1e6
        relative = mapping.signed(net_uS).sum(0)
        if mapping.analog_offset:
            relative = relative - rows.sum(-1).unsqueeze(1) * mapping.analog_offset
        return self.tiling.from_columns(relative * gain, bits.shape)

    def _disturbed(
        self, z: Tensor, drive: Tensor, chip: Chip, gain: Tensor, read_seed: int
    ) -> Tensor:
        tiling = self.tiling
        if chip.read_variance is not None:
            # A chip of the kernels may hold its variances in fewer bits.
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

    def _converted(
        self,
        z: Tensor,
        adc: Converter,
        chip: Chip,
        read_seed: int,
        want_slopes: bool,
        drive_shape: torch.Size,
        fitted_values: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """What the ADCs make of currents that come in their steps, in these steps; and which of
        them did not saturate."""
        tiling, model = self.tiling, self.profile.adc
        state = chip.adc
        gain, offset = (
            None if value is None else tiling.per_column(value)
            for value in ((state.gain, state.offset) if state is not None else (None, None))
        )
        z = distorted(z, model, adc.levels, gain, offset, self.profile.temperature_C)
        if model.noise_of_range:
            steps = z.new_tensor(model.noise_of_range * adc.levels)
            z = _noisy(z, steps, seed_for(read_seed, "adc"))
        table = fixed_table(model, z)
        if fitted_values is not None:
            table = CodeTable.nearest(fitted_values)
        if table is not None:
            u = z / adc.levels
            inside = table.inside(u) if want_slopes else None
            return table.coded(u).mul_(adc.levels), inside
        if state is None or state.thresholds is None:
            return adc.encode(z, want_slopes)
        _, inside = adc.encode(z.clone(), want_slopes)
        codes = looked_up(tiling.by_column(z), state.thresholds, adc.lowest)
        return tiling.from_columns(codes, drive_shape), inside


def _range_slope(codes: Tensor, steps: Tensor, inside: Tensor, converter: Converter) -> Tensor:
    """``d(code * step) / d(range)`` of every value, the rounding passed straight through."""
    return (codes - steps.where(inside, 0.0)) / converter.levels


def _noisy(z: Tensor, sigma: Tensor, seed: int) -> Tensor:
    return z.addcmul_(normal(z, seed), sigma)
