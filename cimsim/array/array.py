"""A weight matrix on crossbars: :meth:`Array.chip` programs it, :meth:`Array.mvm` multiplies.

Weights are scaled, mapped to conductances in µS, programmed with noise and aged. An input is coded
by the DAC, multiplied tile by tile, disturbed by read noise, coded by the ADC, and summed and
scaled digitally.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.array import plain
from cimsim.array.backend import Multiplier, Programmer
from cimsim.array.chip import program_and_age
from cimsim.array.circuit import Circuit
from cimsim.array.fused import FusedMultiplier, FusedProgrammer
from cimsim.array.masks import Mask
from cimsim.array.types import (
    CellWeights,
    Chip,
    ConverterRanges,
    Held,
    Programmed,
    Readout,
    SaveOptions,
)
from cimsim.circuits.mapping import weight_scale
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.kernels import active, active_programming
from cimsim.physics.programming import programming_sigma_uS, reachable_uS


@dataclass(frozen=True)
class Array(Circuit):
    """A :class:`Circuit` that computes, with the kernels where they cover it, or in plain torch."""

    def _programmer(self, *weights: Tensor) -> Programmer:
        kernels = None if self.packed is None else active_programming(*weights)
        return plain if kernels is None else FusedProgrammer(kernels)

    def _multiplier(self, *operands: Tensor | None) -> Multiplier:
        kernels = active(*operands)
        return plain if kernels is None else FusedMultiplier(kernels)

    def chip(
        self,
        weight: Tensor,
        seed: int,
        age_s: float = 0.0,
        single_use: bool = False,
        cycle: int = 0,
        attempts: Tensor | None = None,
    ) -> Chip:
        """Program ``weight`` on the chip named ``seed``, and age it.

        Args:
            weight: in the shape of the layer.
            seed: names the chip.
            age_s: seconds since programming.
            single_use: the chip is used before this thread makes the next one. Its memory is
                reused, and its slow read noise is not correlated with that at other ages.
            cycle: number of times that the chip was written before.
            attempts: how often each weight was written again in this cycle, in the shape of
                ``weight``; None for never. With it, the chip is programmed in plain torch.
        """
        cells = self.tiling.to_cells(weight)
        if attempts is not None:
            again = self.tiling.to_cells(attempts)
            return plain.chip(self, cells, seed, age_s, single_use, cycle, again)
        return self._programmer(cells).chip(self, cells, seed, age_s, single_use, cycle)

    def programmed(
        self,
        weight: Tensor,
        seed: int,
        age_s: float,
        scale: Tensor,
        cycle: int = 0,
        attempts: Tensor | None = None,
        wired_uS: Tensor | None = None,
    ) -> Programmed:
        """The weights on the cells of :meth:`chip`, and their vector-Jacobian product; ``scale``
        and ``wired_uS`` are the chip's."""
        if attempts is not None or wired_uS is not None:
            return plain.programmed(self, weight, seed, age_s, scale, cycle, attempts, wired_uS)
        by_column = self.profile.array.weight_scale == "column"
        programmer = self._programmer(weight) if by_column else plain
        return programmer.programmed(self, weight, seed, age_s, scale, cycle)

    def held(self, chip: Chip) -> CellWeights:
        """The weights on the cells of ``chip``, with its slow read noise."""
        return Held(self.mapping.weights(chip.relative), chip.scale)

    def effective_weight(self, weight: Tensor, seed: int, age_s: float = 0.0) -> Tensor:
        """``W_prog``: the weights of the chip's columns, ``[tiles, slices * columns, rows]``.

        In weight units, compensation included; the slices of an output add up to its weight.
        Differentiable in ``weight`` at fixed draws, where grad mode is on.
        """
        cells = program_and_age(self.tiling.to_cells(weight), self.profile, seed, age_s)
        mapping = self.mapping
        return mapping.weights(mapping.relative(cells.wired_uS)) * cells.scale

    def programmed_weight(self, chip: Chip) -> Tensor:
        """The weights that ``chip`` holds, with its slow read noise, in the shape of the layer's
        weight."""
        columns = self.mapping.weights(chip.relative) * chip.scale.unsqueeze(-1)
        return self.tiling.from_cells(self.join_slices(columns, 1))

    def verified_weight(
        self, weight: Tensor, seed: int, cycle: int = 0, attempts: Tensor | None = None
    ) -> Tensor:
        """The weights that a controller reads cell by cell right after writing ``weight``, in its
        shape: without drift, read noise, and the resistance of lines."""
        again = None if attempts is None else self.tiling.to_cells(attempts)
        profile = self.profile.model_copy(update={"wires": None})
        cells = program_and_age(self.tiling.to_cells(weight), profile, seed, 0.0, cycle, again)
        columns = self.mapping.weights(self.mapping.relative(cells.g_uS)) * cells.scale
        return self.tiling.from_cells(self.join_slices(columns, 1))

    def programming_variance(self, weight: Tensor) -> Tensor:
        """Variance of each weight right after programming, in its shape and its units squared.

        The sum over the weight's cells of the squared standard deviations of all programming noise,
        before anything is clamped or verified. Differentiable in ``weight``, also through the
        scale.

        Raises:
            CimsimError: for a profile with bit slicing, with pairs that correct each other, or with
                variation by place.
        """
        cell, mapping = self.profile.cell, self.mapping
        unsupported = {
            "'cell.variation'": any(effect.strength for effect in cell.variation),
            "bit slicing (array.slices > 1)": self.profile.array.slices > 1,
            "pairs that correct each other": bool(mapping.corrections()),
        }
        for what, is_set in unsupported.items():
            if is_set:
                raise CimsimError(f"the variance of programming does not support {what}")
        cells = self.tiling.to_cells(weight)
        scale = weight_scale(cells, self.profile.array)
        g_uS = reachable_uS(mapping.conductances(cells / scale), cell)
        variance = torch.zeros_like(g_uS)
        for effect in cell.programming_noise:
            if effect.strength:
                variance = variance + programming_sigma_uS(effect, g_uS, cell).square()
        columns = mapping.variances_of_weights(mapping.variances(variance))
        return self.tiling.from_cells(columns * scale.square())

    def reads_low(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, precision: torch.dtype | None
    ) -> bool:
        """Whether :meth:`mvm` and the backward rules take ``x`` in ``precision``, lower than that
        of the weight, without a copy: on a GPU, where the kernels cover the circuit."""
        if x.dtype is not precision or self.not_read or self.bends or self.learns_ranges[1]:
            return False
        return x.dtype is not weight.dtype and active(x, weight, bias) is not None

    def mvm(
        self,
        x: Tensor,
        chip: Chip,
        ranges: ConverterRanges,
        read_seed: int,
        bias: Tensor | None = None,
        save: SaveOptions = SaveOptions(),  # noqa: B008
        precision: torch.dtype | None = None,
    ) -> Readout:
        """Multiply: DAC, products per tile, read noise, ADC, digital sum.

        Args:
            x: inputs in the shape that the tiling's ``product`` takes; in the dtype of the weight,
                or in ``precision`` if :meth:`reads_low`.
            chip: from :meth:`chip`.
            ranges: of the converters; ignored for an ideal converter.
            read_seed: names the draw of the read noise, which is new for every input vector.
            bias: one number for each output, added digitally.
            save: what to return besides the result.
            precision: dtype of the products; None for that of ``x``. The result has the dtype of
                ``x``, and everything else the dtype of the weight.
        """
        covered = not (self.not_read or save.by_adc_range)
        multiplier = self._multiplier(x, chip.relative, bias) if covered else plain
        return multiplier.read(self, x, chip, ranges, read_seed, bias, save, precision)

    def currents(
        self, drive: Tensor, chip: Chip, gain: Tensor, read_seed: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Currents at the ADC, and the currents that are subtracted behind it.

        ``gain`` (scalar or ``[tiles, columns]``) multiplies the relative currents of ``drive``
        (see :meth:`Circuit.drive`); ``read_seed`` None omits read noise.
        """
        return plain.currents(self, drive, chip, gain, read_seed)

    # Transposes of the converters, for backward rules.

    def encode(self, x: Tensor, ranges: ConverterRanges, dtype: torch.dtype) -> Tensor:
        """The codes of ``x`` in ``dtype``, as :meth:`mvm` multiplies them; the next call may
        overwrite them."""
        if self.dac is None:
            return as_dtype(x, dtype)
        return self._multiplier(x).encode(self, x, ranges, dtype)

    def decode(self, codes: Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Saved ``codes`` in ``dtype``, for gradients like ``like``; the next call may overwrite
        them."""
        if codes.dtype == dtype:
            return codes
        return self._multiplier(like).decode(codes, dtype)

    def through_dac(
        self,
        dx: Tensor,
        x: Tensor | None,
        mask: Mask | None,
        ranges: ConverterRanges,
        want_range: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """``dx`` where the DAC did not saturate, by its input ``x`` or its ``mask``; 0 elsewhere.
        May overwrite ``dx``.

        With ``want_range``, which needs ``x``, also the gradient of the DAC's range: the sum of
        ``dx`` times the derivative of the converted value, straight through the rounding.
        """
        if self.dac is None or (x is None and mask is None):
            return dx, None
        return self._multiplier(dx, x).through_dac(self, dx, x, mask, ranges, want_range)

    def scatter_to_columns(
        self, dy: Tensor, mask: Mask | None, scale: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """``mask * scale * dy`` in ``dtype`` at every column of every tile and slice, shaped like
        the currents.

        ``scale [tiles, columns]``; None for a mask or scale of ones. The next call may overwrite
        the result.
        """
        multiplier = plain if self.profile.array.slices > 1 else self._multiplier(dy, scale)
        return multiplier.scatter_to_columns(self, dy, mask, scale, dtype)
