"""A weight matrix on tiles of cells: ``chip`` programs and ages it, ``mvm`` multiplies with it.

What flows through: weights are scaled per column, laid on differential pairs of conductances in
µS, programmed with noise and aged. An input is coded by the DAC, multiplied tile by tile, disturbed
by read noise, coded by the ADC, and summed and scaled digitally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.tiling import Tiling
from cimsim.circuits.converters import Converter
from cimsim.circuits.mapping import DifferentialPair, column_scale
from cimsim.devices import aged_uS, programmed_uS, read_variance_uS2
from cimsim.profile import Profile
from cimsim.seeds import generator


class ConverterRanges(NamedTuple):
    """Full scales, scalars in the units of the layer's input: of the DAC, and of the ADC after
    a product with relative weights in [-1, 1]."""

    dac: Tensor
    adc: Tensor


class Chip(NamedTuple):
    """One draw of everything static, as the read-out meets it.

    ``weight [tiles, columns, rows]`` is relative to full conductance; ``scale [tiles, columns]`` is
    the digital factor behind the ADC (weight units, drift compensation included);
    ``read_variance`` has the shape of ``weight``, or is None where nothing is noisy.
    """

    weight: Tensor
    scale: Tensor
    read_variance: Tensor | None


class Readout(NamedTuple):
    """A multiplication's result ``y``, and what a backward rule may want to know about it.

    ``codes`` is the input as the DAC coded it (the input itself where the DAC is ideal);
    ``dac_inside`` and ``adc_inside`` mark what did not saturate (None where a converter is ideal).
    """

    y: Tensor
    codes: Tensor
    dac_inside: Tensor | None
    adc_inside: Tensor | None


class _Held(NamedTuple):
    """Cells after programming and waiting: ``[2, tiles, columns, rows]`` in µS, and the relative
    weights they stand for with their digital scale ``[tiles, columns, 1]``."""

    target_uS: Tensor
    g_uS: Tensor
    weight: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Array:
    """A layer's weights on the device of ``profile``, laid out by ``tiling``. Holds no state."""

    profile: Profile
    tiling: Tiling

    @property
    def dac(self) -> Converter | None:
        """The input converter; None if it is ideal."""
        bits = self.profile.dac.bits
        return None if bits is None else Converter(bits)

    @property
    def adc(self) -> Converter | None:
        """The output converter; None if it is ideal."""
        bits = self.profile.adc.bits
        return None if bits is None else Converter(bits)

    @property
    def mapping(self) -> DifferentialPair:
        """How a weight becomes conductances."""
        cell = self.profile.cell
        return DifferentialPair(cell.g_min_uS, cell.g_max_uS)

    def chip(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Chip:
        """Program ``weight`` on the chip named by ``seed`` and let it wait ``age_s`` seconds."""
        held = self._held(weight, seed, age_s)
        variance_uS2 = read_variance_uS2(held.g_uS, held.target_uS, self.profile.cell, age_s)
        variance = None if variance_uS2 is None else self.mapping.variances(variance_uS2)
        return Chip(held.weight, held.scale.squeeze(-1), variance)

    def effective_weight(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Tensor:
        """``W_prog``: the weights that the chip really holds, ``[tiles, columns, rows]``.

        Differentiable in ``weight`` at fixed draws, where grad mode is on.
        """
        held = self._held(weight, seed, age_s)
        return held.weight * held.scale

    def _held(self, weight: Tensor, seed: int, age_s: float) -> _Held:
        cell, mapping = self.profile.cell, self.mapping
        cells = self.tiling.to_cells(weight)
        scale = column_scale(cells)
        target_uS = mapping.conductances(cells / scale)
        fresh_uS = programmed_uS(target_uS, cell, seed)
        g_uS = aged_uS(fresh_uS, target_uS, cell, age_s, seed)
        relative = mapping.weights(g_uS)
        if self.profile.array.drift_compensation == "global" and g_uS is not fresh_uS:
            scale = scale * _lost(mapping.weights(fresh_uS), relative)
        return _Held(target_uS, g_uS, relative, scale)

    def mvm(
        self,
        x: Tensor,
        chip: Chip,
        ranges: ConverterRanges,
        read_seed: int,
        want_slopes: bool = True,
    ) -> Readout:
        """Multiply: DAC, products per tile, read noise, ADC, digital accumulation.

        Args:
            x: inputs in the shape that the tiling's ``product`` takes.
            chip: from :meth:`chip`.
            ranges: of the converters; not looked at where a converter is ideal.
            read_seed: names the draw of the read noise, new for every input vector.
            want_slopes: whether the masks of the saturating converters are needed.
        """
        tiling, dac, adc = self.tiling, self.dac, self.adc
        codes, dac_inside, adc_inside = x, None, None
        in_step = out_step = x.new_ones(())
        if dac is not None:
            in_step = ranges.dac / dac.levels
            codes, dac_inside = dac.encode(x / in_step, want_slopes)
        if adc is not None:
            out_step = ranges.adc / adc.levels
        gain = in_step / out_step  # folded into the cells, so that currents come in ADC steps
        z = tiling.product(codes, chip.weight * gain)
        if chip.read_variance is not None:
            variance = tiling.product(codes.square(), chip.read_variance * gain.square())
            sigma = variance.clamp_min_(0.0).sqrt_()  # fast convolutions can round below zero
            z = _noisy(z, sigma, generator(read_seed, "cells", device=z.device))
        if adc is not None:
            if self.profile.adc.noise_of_range:
                steps = z.new_tensor(self.profile.adc.noise_of_range * adc.levels)
                z = _noisy(z, steps, generator(read_seed, "adc", device=z.device))
            z, adc_inside = adc.encode(z, want_slopes)
        y = tiling.accumulate(z.mul_(tiling.per_column(chip.scale * out_step)))
        return Readout(y, codes, dac_inside, adc_inside)


def _lost(before: Tensor, after: Tensor) -> Tensor:
    """Global drift compensation: mean |weight| at programming over mean |weight| now."""
    return before.abs().sum() / after.abs().sum().clamp_min(torch.finfo(after.dtype).tiny)


def _noisy(z: Tensor, sigma: Tensor, draws: torch.Generator) -> Tensor:
    noise = torch.empty_like(z).normal_(generator=draws)
    return z.addcmul_(noise, sigma)
