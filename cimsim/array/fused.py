"""An array's programming and readout by the fused kernels; the same as in plain torch, faster."""

from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cimsim.array.chip import Chip, Term
from cimsim.array.masks import Mask
from cimsim.array.tiling import Tiling
from cimsim.circuits.adc import draw_adc
from cimsim.circuits.mapping import weight_scale
from cimsim.kernels import Recipe, native
from cimsim.physics.sessions import Part, slow_parts
from cimsim.physics.writing import written_parts
from cimsim.profile import Profile
from cimsim.seeds import cycle_seed, seed_for

if TYPE_CHECKING:
    from cimsim.array.array import Array, ConverterRanges, Readout, Wanted


def _cells(
    weight: Tensor,
    profile: Profile,
    recipe: Recipe,
    seed: int,
    age_s: float,
    want_slope: bool,
    passing: bool,
    cycle: int,
) -> tuple[native.Cells, Tensor]:
    """Programmed cells, and the digital scale of their columns."""
    per = profile.array.weight_scale
    scale = None if per == "column" else weight_scale(weight, per).squeeze(-1)
    slow = None if want_slope else (age_s, passing)
    draws = _draws(recipe, seed, cycle, slow)
    cells = native.program(weight, scale, recipe, draws, age_s, want_slope, passing)
    compensation = profile.array.drift_compensation
    if cells.sums is None or compensation == "none":
        return cells, cells.scale
    before, now = cells.sums.sum((1, 2)) if compensation == "global" else cells.sums
    factor = before / now.clamp_min(torch.finfo(weight.dtype).tiny)
    return cells, cells.scale * factor.to(weight.dtype)


def chip(
    weight: Tensor,
    profile: Profile,
    recipe: Recipe,
    seed: int,
    age_s: float,
    passing: bool,
    cycle: int = 0,
) -> Chip:
    """:func:`cimsim.array.chip.make_chip` for the cells that ``recipe`` covers.

    A ``passing`` chip lies in scratch memory and lasts until the next one is made.
    """
    if weight.stride(-1) != 1:
        weight = weight.contiguous()
    cells, scale = _cells(weight, profile, recipe, seed, age_s, False, passing, cycle)
    tiles, columns = scale.shape
    return Chip(
        terms=(Term(None, cells.relative),),
        scale=scale,
        read_variance=cells.variance,
        traps=(),
        adc=draw_adc(profile.adc, tiles, columns, seed, scale),
        gated_S=None,
    )


class FusedProgrammed:
    """See :class:`cimsim.array.programmed.Programmed`; cells without a reference column, and
    with a scale for each column.

    Where the values are not asked for, they are never written.
    """

    def __init__(
        self,
        tiling: Tiling,
        profile: Profile,
        recipe: Recipe,
        weight: Tensor,
        seed: int,
        age_s: float,
        scale: Tensor,
        cycle: int = 0,
    ) -> None:
        self.scale = scale
        self._tiling, self._like = tiling, weight.contiguous()
        self._weight = tiling.to_cells(self._like)
        self._in_place = self._weight.data_ptr() == self._like.data_ptr()
        if self._weight.stride(-1) != 1:
            self._weight, self._in_place = self._weight.contiguous(), False
        self._profile, self._recipe, self._seed, self._age_s = profile, recipe, seed, age_s
        self._cycle = cycle
        self._cells: native.Cells | None = None

    @cached_property
    def values(self) -> Tensor:
        """Relative weights."""
        self._cells, _ = _cells(
            *(self._weight, self._profile, self._recipe, self._seed, self._age_s),
            want_slope=True,
            passing=True,
            cycle=self._cycle,
        )
        return self._cells.relative

    def pull(self, gradient: Tensor, dac: native.Dac | None) -> Tensor:
        """See :class:`cimsim.array.programmed.Programmed`."""
        out = torch.empty_like(self._like if self._in_place else self._weight)
        native.pull(
            *(
                self._weight,
                self._cells,
                self._recipe,
                _draws(self._recipe, self._seed, self._cycle),
            ),
            *(self._age_s, gradient.contiguous(), dac, out),
        )
        return out if self._in_place else self._tiling.from_cells(out)


def _draws(
    recipe: Recipe, seed: int, cycle: int, slow: tuple[float, bool] | None = None
) -> list[tuple[Part, ...]]:
    """What programming and drift draw, and with ``slow`` (the age in s, and whether the chip is
    passing) what the slow part of each read noise does."""
    draws = [
        written_parts(seed, cycle, drawn.device_share, drawn.family, drawn.number)
        for drawn in recipe.draws
    ]
    for index, times in recipe.flicker:
        parts: tuple[Part, ...] = ()
        if slow is not None and times is not None:
            age_s, passing = slow
            parts = slow_parts(times, index, age_s, cycle_seed(seed, cycle), passing)
        draws.append(parts)
    return draws


def read(
    kernels: ModuleType,
    array: Array,
    x: Tensor,
    chip: Chip,
    ranges: ConverterRanges,
    read_seed: int,
    bias: Tensor | None,
    wanted: Wanted,
    precision: torch.dtype | None,
) -> Readout:
    """:meth:`cimsim.array.Array.mvm` for uniform converters."""
    from cimsim.array.array import Readout

    tiling, adc = array.tiling, array.adc
    assert adc is not None
    noisy = chip.read_variance is not None
    kept, dac_inside = None, None
    codes: native.Codes
    step = array.step(ranges)
    if step is None:
        squares = x.square().to(kernels.variance_dtype()) if noisy else None
        codes = native.Codes(x.contiguous(), squares, x, None)
    else:
        assert array.dac is not None
        bytes_suffice = wanted.codes and array.dac.storage.itemsize == 1
        codes = kernels.encode(x.contiguous(), step, noisy, bytes_suffice, wanted.dac_mask)
        if codes.mask is not None:
            dac_inside = Mask(codes.mask, x.shape, x.numel())
    if wanted.codes:
        kept = array.stored(codes.values) if codes.kept is None else codes.kept
    slot = "z" if kernels is native else None
    u, cells = codes.values, chip.relative
    if precision is not None:
        u, cells = u.to(precision), cells.to(precision)
    z = tiling.product(u, cells, slot).to(x.dtype).contiguous()
    variance = None
    if chip.read_variance is not None and codes.squares is not None:
        cells = chip.read_variance.to(kernels.variance_dtype())
        variance = tiling.product(codes.squares, cells, slot and "z variance").contiguous()
    lines = tiling.lines(z.shape)
    y = x.new_empty(tiling.output_shape(z.shape))
    noise_steps = array.profile.adc.noise_of_range * adc.levels
    mask = kernels.convert(
        *(z, variance, lines, step, ranges.adc, (adc.lowest, adc.levels), chip.scale, bias),
        noise_steps=noise_steps,
        seeds=(
            seed_for(read_seed, "cells") if noisy else 0,
            seed_for(read_seed, "adc") if noise_steps else 0,
        ),
        y=y,
        want_mask=wanted.adc_mask,
    )
    adc_inside = None if mask is None else Mask(mask, z.shape, lines.line)
    return Readout(y, kept, dac_inside, adc_inside)


def through_dac(
    kernels: ModuleType, dx: Tensor, x: Tensor | None, mask: Mask | None, dac: native.Dac
) -> Tensor:
    """:meth:`cimsim.array.Array.through_dac`, in place."""
    dx = dx.contiguous()
    x = None if x is None else x.contiguous()
    kernels.gate(dx, x, None if mask is None else mask.bits, dac)
    return dx


def spread(
    kernels: ModuleType, tiling: Tiling, dy: Tensor, mask: Mask | None, scale: Tensor | None
) -> Tensor:
    """:meth:`cimsim.array.Array.spread`, in scratch memory."""
    dz: Tensor = kernels.empty("dz", tiling.currents_shape(dy.shape), dy, dy.dtype)
    kernels.spread(
        dy.contiguous(),
        None if mask is None else mask.bits,
        tiling.lines(dz.shape),
        None if scale is None else scale.contiguous(),
        dz,
    )
    return dz
