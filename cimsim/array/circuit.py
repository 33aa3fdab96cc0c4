"""The circuit of an array: layout, mapping and converters. Computes no currents, holds no state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cimsim.array.tiling import Tiling
from cimsim.array.types import ConverterRanges, Term
from cimsim.circuits.adc import adc_converter, distorts
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import analog_levels, bit_planes, dac_converter
from cimsim.circuits.mapping import Mapping
from cimsim.circuits.range_groups import RangeGroups
from cimsim.kernels import PackedPhysics, not_programmed, pack
from cimsim.kernels.types import Dac
from cimsim.physics import common_shape
from cimsim.physics.nonlinearity import Shape
from cimsim.profile import LearnedRange, Profile, TelegraphReadNoise, UniformCodes

_MOST_BITS = 10  # of an ADC whose step is far above 2^-17 of the currents


class Factors(NamedTuple):
    """A part of the currents, ``(applied @ relative) * number``.

    Attributes:
        applied: to the rows.
        relative: relative currents of the cells.
        number: the full scale of what is applied.
    """

    applied: Tensor
    relative: Tensor
    number: int


class Counts(NamedTuple):
    """What the sizes of a multiplication's results depend on besides its layout.

    Attributes:
        slices, planes, devices: numbers of slices, of bits applied one by one, and of cells that
            hold a slice.
        dac_bits: resolution of the DAC; None if it is ideal.
        adc: whether there is an ADC.
        wired: whether chips have :attr:`~cimsim.array.types.Chip.wired_uS`.
    """

    slices: int
    planes: int
    devices: int
    dac_bits: int | None
    adc: bool
    wired: bool


@dataclass(frozen=True)
class Circuit:
    """A layer's weights on crossbars of a profile.

    Args:
        profile: cells, tiles and converters.
        tiling: layout of the layer's weight on tiles.
        unsigned: whether the layer's inputs have no sign, if the profile's DAC has such a mode.

    Attributes:
        counts: numbers that compiled graphs depend on.
    """

    profile: Profile
    tiling: Tiling
    unsigned: bool = False
    counts: Counts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Set at the start, because torch.compile cannot trace a cached property.
        counts = Counts(
            slices=self.profile.array.slices,
            planes=self.planes or 1,
            devices=self.mapping.devices,
            dac_bits=None if self.dac is None else self.dac.bits,
            adc=self.adc is not None,
            wired=self.keeps_wired,
        )
        object.__setattr__(self, "counts", counts)

    @cached_property
    def dac(self) -> Converter | None:
        """The input converter; None if it is ideal."""
        return dac_converter(self.profile.dac, self.unsigned)

    @cached_property
    def adc(self) -> Converter | None:
        """The output converter; None if it is ideal."""
        return adc_converter(self.profile.adc)

    @cached_property
    def mapping(self) -> Mapping:
        """From weights to conductances and back."""
        return Mapping(self.profile.cell, self.profile.array)

    @cached_property
    def learns_ranges(self) -> tuple[bool, bool]:
        """Whether the ranges of DAC and ADC are learned; an ideal converter has none."""
        dac, adc = self.profile.dac.range, self.profile.adc.range
        return (
            self.dac is not None and isinstance(dac, LearnedRange),
            self.adc is not None and isinstance(adc, LearnedRange),
        )

    @cached_property
    def planes(self) -> int | None:
        """Number of bits of a serial input; None if all bits are applied at once."""
        return self.dac.planes if self.dac is not None and self.profile.dac.bit_serial else None

    def range_groups(self, columns: int) -> RangeGroups:
        """Groups of the ``columns`` of each tile (slices included) that share a full scale."""
        per, slices = self.profile.adc.range_per, self.profile.array.slices
        of_tile = self.profile.array.weight_columns
        return RangeGroups(per, self.tiling.tiles, slices, columns // slices, of_tile)

    def at_columns(self, full_scales: Tensor, columns: int) -> Tensor:
        """The ADC's ``full_scales`` at every column, ``[tiles, columns]``."""
        return self.range_groups(columns).of_columns(full_scales)

    def dac_codes(self, ranges: ConverterRanges) -> Dac | None:
        """The codes of the input converter; None if it is ideal."""
        return None if self.dac is None else Dac(ranges.dac, self.dac.levels, self.dac.lowest)

    @cached_property
    def whole_codes(self) -> bool:
        """Whether bfloat16 represents the codes of the inputs: whole numbers up to 256."""
        return self.dac is not None and max(self.dac.levels, -self.dac.lowest) <= 256

    @cached_property
    def rounds(self) -> bool:
        """Whether an ADC rounds the currents to many times the errors of a split product, see
        :class:`cimsim.kernels.products.Product`."""
        return self.adc is not None and self.adc.bits <= _MOST_BITS and not self.not_read

    # Slices: digits of a weight in separate columns.

    def over_slices(self, weight: Tensor) -> Tensor:
        """``weight [tiles, columns, rows]`` at the columns of its slices, by their significance."""
        parts = self.mapping.significance()
        return weight if len(parts) == 1 else torch.cat([weight * part for part in parts], dim=1)

    def join_slices(self, values: Tensor, dim: int) -> Tensor:
        """Sum over the slices, which come before the columns in dimension ``dim``."""
        slices = self.profile.array.slices
        return values if slices == 1 else values.unflatten(dim, (slices, -1)).sum(dim)

    def currents_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the currents for an output of ``y_shape``, slices and bit planes included."""
        shape, slices = self.tiling.currents_shape(y_shape), self.profile.array.slices
        if slices == 1 and self.planes is None:
            return shape
        several = list(shape)
        several[self.tiling.column_dim] *= slices
        several[self.tiling.vector_dim] *= self.planes or 1
        return tuple(several)

    # Inputs as voltages.

    def compact(self, codes: Tensor) -> Tensor:
        """``codes`` in the smallest type that holds them."""
        return codes if self.dac is None else codes.to(self.dac.storage)

    def drive(self, codes: Tensor) -> Tensor:
        """Row voltages of ``codes``, in steps of the DAC: ``codes`` themselves if its levels are
        exact; bits, one plane after the other, if it is serial."""
        if self.planes is not None:
            return bit_planes(codes, self.planes)
        if self.dac is None:
            return codes
        return analog_levels(self.profile.dac, codes, self.dac.levels)

    @property
    def _full_drive(self) -> int:
        """The :meth:`drive` at full scale, which is 1 for serial bits and for an ideal DAC."""
        return 1 if self.dac is None or self.planes is not None else self.dac.levels

    @cached_property
    def shape(self) -> Shape | None:
        """The same function of the voltage for the currents of all cells, an offset aside; None if
        they are proportional to it, or if cells differ."""
        iv, by_duration = self.profile.cell.iv, self.profile.dac.coding == "duration"
        return None if iv is None or not iv.strength or by_duration else common_shape(iv)

    def applied(self, codes: Tensor) -> Tensor:
        """What the cells multiply for ``codes``, in steps of the DAC, if :attr:`one_product`."""
        drive = self.drive(codes)
        full = self._full_drive
        return drive if self.shape is None else self.shape(drive / full) * full

    def factors(self, drive: Tensor, terms: Sequence[Term]) -> Iterator[Factors]:
        """The factors of the currents of each of ``terms``, in steps of the DAC."""
        # The argument of a shape is the voltage divided by its full scale.
        full = self._full_drive
        voltage = drive if all(shape is None for shape, _ in terms) else drive / full
        for shape, relative in terms:
            applied = voltage if shape is None else shape(voltage)
            yield Factors(applied, relative, 1 if voltage is drive else full)

    @cached_property
    def linear_drive(self) -> bool:
        """Whether currents are proportional to the input, so that its scale cancels."""
        errors = any(error.strength for error in self.profile.dac.errors)
        return not (self.profile.dac.bit_serial or self._nonlinear or errors)

    @cached_property
    def bends(self) -> bool:
        """Whether the mean output differs from the product of the codes with the programmed
        weights, saturation aside: by the DAC's levels, the cells, the wires or the readout."""
        profile = self.profile
        return (
            self._nonlinear
            or any(error.strength for error in profile.dac.errors)
            or (self.adc is not None and distorts(profile.adc))
            or self._wired_cells == "gated"
            or self.mapping.digital_offset != 0
        )

    @cached_property
    def sums_products(self) -> bool:
        """Whether the mean output is a digital sum of products, saturation aside: nothing bends
        behind the products, and no current is subtracted from them."""
        subtracts = self.mapping.reference or self.mapping.digital_offset != 0
        bends_after = self.adc is not None and distorts(self.profile.adc)
        gated, serial = self._wired_cells == "gated", self.planes is not None
        return not (gated or serial or subtracts or bends_after)

    @cached_property
    def one_product(self) -> bool:
        """Whether the mean output is, saturation aside, the product of what is :meth:`applied` with
        the programmed weights."""
        # An offset is proportional to the voltage; behind wires, a cell without conductance draws
        # no current, but has an effective conductance.
        apart = self.mapping.analog_offset != 0 or self._wired_cells is not None
        several = self._nonlinear and (self.shape is None or apart)
        return self.sums_products and not several

    @cached_property
    def keeps_wired(self) -> bool:
        """Whether chips have :attr:`~cimsim.array.types.Chip.wired_uS`."""
        return self._wired_cells == "passive" and not self.mapping.reference

    @property
    def _nonlinear(self) -> bool:
        iv = self.profile.cell.iv
        return iv is not None and iv.strength > 0

    @property
    def _wired_cells(self) -> Literal["passive", "gated"] | None:
        """Which cells the resistance of wires affects; None if there is none."""
        wires = self.profile.wires
        return None if wires is None or wires.strength == 0 else wires.cells

    # Coverage by the kernels.

    @cached_property
    def packed(self) -> PackedPhysics | None:
        """The cells' physics for the kernels; None if they do not cover it."""
        return pack(self.profile)

    @cached_property
    def not_read(self) -> tuple[str, ...]:
        """See :func:`not_read`."""
        return not_read(self.profile)

    @property
    def not_fused(self) -> tuple[str, ...]:
        """See :func:`not_fused`."""
        return not_fused(self.profile)


def not_read(profile: Profile) -> tuple[str, ...]:
    """Names of the settings of ``profile`` that the kernels do not read.

    They cover uniform converters and a digital sum over tiles.
    """
    cell, dac, adc, wires = profile.cell, profile.dac, profile.adc, profile.wires
    mapping = Mapping(cell, profile.array)
    traps = (e for e in cell.read_noise if isinstance(e, TelegraphReadNoise) and not e.slow)
    settings = {
        "array.mapping": mapping.reference or mapping.digital_offset != 0,
        "array.slices": profile.array.slices > 1,
        "cell.read_noise": any(effect.strength for effect in traps),
        "dac.bit_serial": dac.bit_serial,
        "adc.bits": adc.bits is None or adc.bits == 1,
        "adc.codes": not isinstance(adc.codes, UniformCodes),
        "adc.errors": any(error.strength for error in adc.errors),
        "wires": wires is not None and wires.strength > 0 and wires.cells == "gated",
    }
    return tuple(name for name, is_set in settings.items() if is_set)


def not_fused(profile: Profile) -> tuple[str, ...]:
    """Names of the settings of ``profile`` that run in plain torch instead of the kernels."""
    return tuple(sorted({*not_programmed(profile), *not_read(profile)}))
