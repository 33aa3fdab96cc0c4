"""The fused back end: the same functions as :mod:`cimsim.array.plain`, by the compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cimsim.array.circuit import Circuit
from cimsim.array.masks import Mask
from cimsim.array.tiling import layout
from cimsim.array.types import Chip, ConverterRanges, Programmed, Readout, SaveOptions, Term
from cimsim.circuits.adc import draw_adc
from cimsim.circuits.mapping import weight_scale
from cimsim.dtypes import as_dtype, in_memory
from cimsim.kernels import Backend, PackedPhysics, ProgrammingBackend
from cimsim.kernels.memory import scratch_on
from cimsim.kernels.products import Product, can_split
from cimsim.kernels.types import Cells, Codes, Dac
from cimsim.physics.sessions import Part, slow_parts
from cimsim.physics.writing import written_parts
from cimsim.seeds import cycle_seed, seed_for


@dataclass(frozen=True)
class FusedProgrammer:
    """Programs with ``kernels`` the cells of circuits that have packed physics."""

    kernels: ProgrammingBackend

    def chip(
        self,
        circuit: Circuit,
        weight: Tensor,
        seed: int,
        age_s: float,
        single_use: bool,
        cycle: int,
    ) -> Chip:
        """See :meth:`cimsim.array.Array.chip`; ``weight`` is in cells."""
        packed, spec = circuit.packed, circuit.profile.array
        assert packed is not None
        if weight.stride(-1) != 1 or weight.is_neg():
            weight = in_memory(weight)
        per = spec.weight_scale
        scale = None if per == "column" else weight_scale(weight, spec).squeeze(-1)
        draws = _draws(packed, seed, cycle, (age_s, single_use))
        cells = self.kernels.program(
            *(weight, scale, packed, draws, age_s),
            single_use=single_use,
            compensation=spec.drift_compensation,
        )
        return Chip(
            terms=(Term(circuit.shape, cells.relative),),
            scale=cells.scale,
            read_variance=cells.variance,
            traps=(),
            adc=draw_adc(circuit.profile.adc, spec.weight_columns, seed, cells.scale),
            gated_S=None,
        )

    def programmed(
        self, circuit: Circuit, weight: Tensor, seed: int, age_s: float, scale: Tensor, cycle: int
    ) -> Programmed:
        """See :meth:`cimsim.array.Array.programmed`; each column has its own scale."""
        return FusedProgrammed(self.kernels, circuit, weight, seed, age_s, scale, cycle)


class FusedProgrammed:
    """See :class:`cimsim.array.types.Programmed`; without a reference column, and with a scale for
    each column. Values that are not requested are never written to memory."""

    gradient_slot: str | None = "gradient"

    def __init__(
        self,
        kernels: ProgrammingBackend,
        circuit: Circuit,
        weight: Tensor,
        seed: int,
        age_s: float,
        scale: Tensor,
        cycle: int,
    ) -> None:
        assert circuit.packed is not None
        self.scale = scale
        self._kernels, self._packed = kernels, circuit.packed.of_weights
        self._tiling, self._like = circuit.tiling, in_memory(weight)
        self._weight = self._tiling.to_cells(self._like)
        # Whether cells are a view of the weight, so that the gradient needs no second copy.
        self._in_place = self._weight.data_ptr() == self._like.data_ptr()
        if self._weight.stride(-1) != 1:
            self._weight, self._in_place = in_memory(self._weight), False
        self._age_s, self._draws = age_s, _draws(self._packed, seed, cycle)
        self._cells: Cells | None = None

    @property
    def values(self) -> Tensor:
        """Relative weights."""
        if self._cells is None:
            self._cells = self._kernels.program(
                *(self._weight, None, self._packed, self._draws, self._age_s),
                want_slope=True,
                single_use=True,
            )
        return self._cells.relative

    def vjp(self, gradient: Tensor, dac: Dac | None) -> Tensor:
        """See :class:`cimsim.array.types.Programmed`."""
        out = torch.empty_like(self._like if self._in_place else self._weight)
        self._kernels.vjp_programming(
            *(self._weight, self._cells, self._packed, self._draws),
            *(self._age_s, in_memory(gradient), dac, out),
        )
        return out if self._in_place else self._tiling.from_cells(out)


def _draws(
    packed: PackedPhysics, seed: int, cycle: int, slow: tuple[float, bool] | None = None
) -> tuple[tuple[Part, ...], ...]:
    """Normal numbers of programming and drift, and with ``slow`` (age in s, single use) those of
    the slow part of each read noise."""
    draws = _written_draws(packed, seed, cycle)
    for index, times in packed.flicker:
        parts: tuple[Part, ...] = ()
        if slow is not None and times is not None:
            age_s, single_use = slow
            parts = slow_parts(times, index, age_s, cycle_seed(seed, cycle), single_use)
        draws = *draws, parts
    return draws


# The backward pass of a layer uses them again.
@lru_cache(maxsize=1024)
def _written_draws(packed: PackedPhysics, seed: int, cycle: int) -> tuple[tuple[Part, ...], ...]:
    return tuple(
        written_parts(seed, cycle, drawn.device_share, drawn.family, drawn.number)
        for drawn in packed.draws
    )


@dataclass(frozen=True)
class FusedMultiplier:
    """Reads with ``kernels``: uniform converters, nothing summed digitally but tiles."""

    kernels: Backend

    def read(
        self,
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
        kernels, tiling, adc = self.kernels, circuit.tiling, circuit.adc
        assert adc is not None
        x = in_memory(x)
        shapes = layout(tiling, x.shape, chip.scale.shape[1])
        of_cells, products = chip.read_variance, precision or x.dtype
        low = None if of_cells is None else kernels.variance_dtype(shapes.products)
        dac, dac_inside, saved = circuit.dac_codes(ranges), None, None
        by_bytes = self._reads_bytes(circuit, x, chip, products)
        if dac is None:
            squares = None if low is None else x.float().square().to(low)
            codes = Codes(as_dtype(x, products), squares, x, None)
        else:
            assert circuit.dac is not None
            fits_byte = save.codes and circuit.dac.storage.itemsize == 1
            # Rounded to the precision of the products only where they are neither stored nor bent.
            exact = (save.codes and not fits_byte) or not circuit.linear_drive
            dtype = dac.byte if by_bytes else torch.float32 if exact else products
            # Only the matrix unit squares bytes itself; it does not need whole numbers.
            squares_in = None if by_bytes and can_split(x, whole=False) else low
            codes = kernels.encode(x, dac, dtype, squares_in, fits_byte, save.dac_mask)
            if codes.mask is not None:
                dac_inside = Mask(codes.mask, x.shape, x.numel())
        if save.codes:
            saved = circuit.compact(codes.values) if codes.stored is None else codes.stored
        drive, squares = circuit.drive(codes.values), codes.squares
        if drive is not codes.values and squares is not None:
            squares = drive.square().to(squares.dtype)
        z = self._currents(circuit, codes.values, drive, chip, products)
        variance = None
        if of_cells is not None and low is not None:
            of_cells, multiply = as_dtype(of_cells, low), Product("z variance", circuit.rounds)
            if squares is None:
                variance = tiling.product_of_squares(codes.values, of_cells, multiply)
            else:
                variance = tiling.product(squares, of_cells, multiply)
            variance = variance.contiguous()
        y = x.new_empty(shapes.y_shape)
        noise_steps = circuit.profile.adc.noise_of_range * adc.levels
        adc_full = ranges.adc
        if adc_full.dim() == 1 and len(adc_full) > tiling.tiles:  # of physical tiles side by side
            adc_full = circuit.at_columns(adc_full, chip.scale.shape[1]).contiguous()
        mask = kernels.digitize(
            *(in_memory(z), variance, shapes.lines, dac),
            *(adc_full, (adc.lowest, adc.levels), chip.scale, bias),
            noise_steps=noise_steps,
            seeds=(
                0 if variance is None else seed_for(read_seed, "cells"),
                seed_for(read_seed, "adc") if noise_steps else 0,
            ),
            y=y,
            want_mask=save.adc_mask,
        )
        adc_inside = None if mask is None else Mask(mask, shapes.z_shape, shapes.lines.line)
        return Readout(y, saved, dac_inside, adc_inside)

    def _reads_bytes(self, circuit: Circuit, x: Tensor, chip: Chip, products: torch.dtype) -> bool:
        """Whether all products read the codes of one byte each."""
        if circuit.dac is None or circuit.dac.storage.itemsize > 1 or not circuit.linear_drive:
            return False
        if products is not torch.float32 or len(chip.terms) > 1:
            return False
        return circuit.tiling.reads_bytes(x, chip.scale.shape[1], Product(split=circuit.rounds))

    def _currents(
        self,
        circuit: Circuit,
        codes: Tensor,
        drive: Tensor,
        chip: Chip,
        products: torch.dtype,
    ) -> Tensor:
        z: Tensor | None = None
        for applied, relative, factor in circuit.factors(drive, chip.terms):
            slot = "z" if z is None else "z of a term"
            whole = (circuit.whole_codes and applied is codes, False)
            of_bytes = applied.dtype.itemsize == 1
            part = circuit.tiling.product(
                applied if of_bytes else as_dtype(applied, products),
                as_dtype(relative, products),
                Product(slot, circuit.rounds, whole),
            )
            if len(chip.terms) > 1 or factor != 1:
                part = as_dtype(part, torch.float32)
            if factor != 1:  # behind the product, which could overflow in float16
                part = part.mul_(factor)
            z = part if z is None else z.add_(part)
        assert z is not None
        return z

    def encode(
        self, circuit: Circuit, x: Tensor, ranges: ConverterRanges, dtype: torch.dtype
    ) -> Tensor:
        """See :meth:`cimsim.array.Array.encode`."""
        dac = circuit.dac_codes(ranges)
        assert dac is not None
        return self.kernels.encode(in_memory(x), dac, dtype).values

    def decode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """See :meth:`cimsim.array.Array.decode`."""
        return scratch_on("codes", codes.shape, dtype, codes.device).copy_(codes)

    def through_dac(
        self,
        circuit: Circuit,
        dx: Tensor,
        x: Tensor | None,
        mask: Mask | None,
        ranges: ConverterRanges,
        want_range: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """See :meth:`cimsim.array.Array.through_dac`; in place."""
        dac, dx = circuit.dac_codes(ranges), in_memory(dx)
        assert dac is not None
        x = None if x is None else in_memory(x)
        bits = None if mask is None else mask.bits
        return dx, self.kernels.mask_gradient(dx, x, bits, dac, want_range)

    def scatter_to_columns(
        self,
        circuit: Circuit,
        dy: Tensor,
        mask: Mask | None,
        scale: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """See :meth:`cimsim.array.Array.scatter_to_columns`."""
        shape = circuit.tiling.currents_shape(dy.shape)
        return self.kernels.scatter_to_columns(
            in_memory(dy),
            None if mask is None else mask.bits,
            circuit.tiling.lines(shape),
            None if scale is None else in_memory(scale),
            shape,
            dtype,
        )
