"""The full scales of a layer's converters: unknown, measured, fixed by the chip, or learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cimsim.array import Array, ConverterRanges
from cimsim.circuits.codes import fixed_table, is_fitted, lloyd_max
from cimsim.circuits.converters import Converter
from cimsim.circuits.mapping import Mapping
from cimsim.circuits.range_groups import RangeGroups
from cimsim.circuits.ranges import RangeObserver, even_steps
from cimsim.errors import CimsimError
from cimsim.lasting import lasting
from cimsim.profile import (
    ADC,
    DAC,
    FixedRange,
    LearnedRange,
    MinimumErrorRange,
    Profile,
    SigmaRange,
)

# Smaller full scales would underflow in float32 once they are divided into steps.
_SMALLEST_RANGE = 1e-30


# What calibration finds, and a layer keeps.
CALIBRATED = ("dac_range", "adc_range", "adc_values", "dac_unsigned")


class SignalObserver:
    """Ranges of one layer's signals during calibration: of its input, and of the currents of its
    columns, for each group of columns that share a range.

    ``array`` is what the columns are computed on: a perfect one, or that of the chip itself, with
    its reads, if ``on_chip``.
    """

    def __init__(self, array: Array, groups: int, on_chip: bool) -> None:
        self.array, self.on_chip = array, on_chip
        self.input = RangeObserver()
        self.columns = RangeObserver(groups)

    @property
    def silent(self) -> bool:
        """Whether nothing but zeros came in, or came out of the columns."""
        return self.input.seen and not self.columns.peaks.any().item()

    @property
    def unsigned(self) -> bool:
        """Whether no input was below 0."""
        return self.input.lowest >= 0


class Found(NamedTuple):
    """Calibration results of a layer; None for what does not change.

    ``dac`` and ``adc`` are full scales, ``adc_values`` those of the ADC's codes over the range;
    ``unsigned`` says whether inputs have no sign.
    """

    dac: Tensor | None
    adc: Tensor | None
    adc_values: Tensor | None = None
    unsigned: bool = False


class Ranged(nn.Module):
    """A layer with converters, as far as their ranges are concerned.

    Attributes:
        dac_range, adc_range: full scales of the converters (buffers, or parameters where they are
            learned; in float32; NaN until calibrated), see :class:`cimsim.array.ConverterRanges`.
        adc_values: values of the ADC's codes over its range, ``[2^bits]``, where the profile has
            them fitted to the data; None elsewhere.
        dac_unsigned: 1 if the inputs have no sign and 0 if they have (int8), where the profile's
            DAC can do without; None elsewhere.
        observer: what looks at the signals during calibration; None at other times.
    """

    name: str
    weight: Tensor
    dac_range: Tensor
    adc_range: Tensor
    adc_values: Tensor | None
    dac_unsigned: Tensor | None
    observer: SignalObserver | None
    _array: Array
    _calibrated: bool

    @property
    def _precise(self) -> dict[str, Tensor]:
        """What stays in float32, whatever the layer is cast to."""
        found = {name: getattr(self, name) for name in CALIBRATED if name != "dac_unsigned"}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move the ranges with the layer, but keep them in float32: ``half()`` would overflow."""
        # Detached, as a parameter stays the same object while its data are replaced.
        ranges = {name: tensor.detach() for name, tensor in self._precise.items()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, precise in ranges.items():
            moved = getattr(self, name)
            if moved.dtype != precise.dtype:
                moved.data = precise.to(moved.device)
        return self

    def _keep_precise(self) -> None:
        """Make the ranges float32 where they have become another dtype."""
        for found in self._precise.values():
            if found.dtype != torch.float32:
                found.data = found.detach().float()

    @property
    def _range_groups(self) -> RangeGroups:
        """The columns that share a full scale of their ADCs."""
        weight = self.arranged(torch.empty(self.weight.shape, device="meta"))
        columns = self._array.tiling.to_cells(weight).shape[1]
        return self._array.range_groups(columns * self._array.profile.array.slices)

    def arranged(self, weight: Tensor) -> Tensor:
        """``weight`` (or anything of its shape) as the array holds it: a column for each entry of
        the first axis. The weight itself for most layers."""
        return weight

    def _forget_ranges(self) -> None:
        """Ranges that are not known, on the weight's device."""
        profile = self._array.profile
        of_adc = self._range_groups.shape
        self._new_range("dac_range", (), isinstance(profile.dac.range, LearnedRange))
        self._new_range("adc_range", of_adc, isinstance(profile.adc.range, LearnedRange))
        self.adc_values = self.dac_unsigned = None
        if is_fitted(profile.adc):
            self._new_range("adc_values", (1 << (profile.adc.bits or 0),), False)
        if profile.dac.sign == "if-needed":
            with lasting():
                # No bool, which cannot be averaged as weights and buffers are.
                self.dac_unsigned = torch.zeros((), dtype=torch.int8, device=self.weight.device)
        self._calibrated = False

    def _new_range(self, name: str, shape: tuple[int, ...], learned: bool) -> None:
        """A range that is not known yet: a parameter if it is learned, or else a buffer."""
        with lasting():
            unknown = torch.full(shape, torch.nan, dtype=torch.float32, device=self.weight.device)
        delattr(self, name)
        if learned:
            self.register_parameter(name, nn.Parameter(unknown))
        else:
            self.register_buffer(name, unknown)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        key, shape = f"{prefix}adc_range", self.adc_range.shape
        of_layer = state_dict.get(key)
        if isinstance(of_layer, Tensor) and of_layer.dim() == 0 and shape:
            # Saved with one range for the layer, as all slices had before they had their own.
            state_dict[key] = of_layer.expand(shape).clone()
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def _set_fixed_ranges(self) -> None:
        """The full scales that the chip fixes: of the DAC, and in its units those of the ADC."""
        dac, adc = self._array.profile.dac, self._array.profile.adc
        if isinstance(dac.range, FixedRange):
            self.dac_range.fill_(dac.range.full_scale)
        if isinstance(adc.range, FixedRange):
            one_input = 1.0 if dac.bits is None or dac.bit_serial else self.dac_range
            self.adc_range.fill_(adc.range.full_scale * self._array.mapping.full_cell * one_input)

    def _dac_scales(self, observer: SignalObserver, array: Array) -> Tensor:
        assert array.dac is not None
        steps = even_steps(array.dac.levels)
        return observer.input.full_scales(array.profile.dac.range, steps)

    def _sees(self, observer: SignalObserver, array: Array) -> Array:
        """``array`` for signed or unsigned inputs, depending on the inputs observed so far."""
        if array.profile.dac.sign == "always":
            return array
        if not observer.input.peaks.any().item():  # zeros have any sign
            return self._with_sign(array)
        return replace(array, unsigned=observer.unsigned)

    def observed_ranges(self) -> Found | None:
        """What suits the signals that the observer saw; None if no signal reached this layer. Zeros
        do not determine a range: a known range stays, an unknown one becomes 1.

        Raises:
            CimsimError: if the observer saw a value that is not finite, or only values too small
                for a range in float32.
        """
        assert self.observer is not None
        observer = self.observer
        if not observer.input.seen:
            return None
        array = self._sees(observer, self._array)
        dac, adc = array.profile.dac, array.profile.adc
        dac_range = adc_range = adc_values = None
        if array.dac is not None and not self._has_learned(dac, self.dac_range):
            self._refuse_unusable(observer.input)
            scales = self._dac_scales(observer, array)
            dac_range = self._unless_silent(observer.input, scales, self.dac_range)
        if array.adc is not None:
            self._refuse_unusable(observer.columns)
            scales, adc_values = self._adc_scales(observer.columns, adc, array.adc)
            adc_range = self._unless_silent(observer.columns, scales, self.adc_range)
        return Found(dac_range, adc_range, adc_values, array.unsigned)

    def _adc_scales(
        self, columns: RangeObserver, adc: ADC, converter: Converter
    ) -> tuple[Tensor, Tensor | None]:
        """Full scales of the ADC, and the values of its codes over them where these are fitted."""
        if is_fitted(adc) and not columns.peaks.any().item():  # nothing that values would fit
            known = self.adc_values is not None and not self.adc_values.isnan().any().item()
            even = None if known else torch.linspace(-1.0, 1.0, 1 << converter.bits)
            return torch.ones(columns.groups), even
        if self._has_learned(adc, self.adc_range):
            scales = self.adc_range.detach().cpu().reshape(-1)
        elif is_fitted(adc) and isinstance(adc.range, MinimumErrorRange | LearnedRange):
            # The values are free, so columns are only made alike; the outermost is the range.
            alike = columns.full_scales(SigmaRange(k=1.0), even_steps(converter.levels))
            values = lloyd_max(columns.samples / alike.unsqueeze(1), converter.bits)
            largest = values.abs().max().float()
            return alike * largest, values / largest
        else:
            table = fixed_table(adc, torch.empty(0))
            quantized = even_steps(converter.levels) if table is None else table.coded
            scales = columns.full_scales(adc.range, quantized, adc.noise_of_range)
        if not is_fitted(adc):
            return scales, None
        over_range = columns.samples / scales.unsqueeze(1)
        return scales, lloyd_max(over_range.clamp(-1.0, 1.0), converter.bits)

    @staticmethod
    def _unless_silent(signal: RangeObserver, scales: Tensor, known: Tensor) -> Tensor:
        """The ``scales``, but what is ``known`` where a signal was zero throughout."""
        before = known.detach().cpu().reshape(-1)
        return torch.where((signal.peaks == 0.0) & ~before.isnan(), before, scales)

    @torch.no_grad()
    def set_ranges(self, found: Found) -> None:
        """Fix what calibration has found; the device's fixed ranges stay."""
        for known, new in (
            (self.dac_range, found.dac),
            (self.adc_range, found.adc),
            (self.adc_values, found.adc_values),
        ):
            if known is not None and new is not None:
                known.copy_(new.view(known.shape))
        if self.dac_unsigned is not None:
            self.dac_unsigned.fill_(found.unsigned)
        self._set_fixed_ranges()
        self._calibrated = False  # to be looked at when the ranges are next used

    @staticmethod
    def _has_learned(converter: DAC | ADC, found: Tensor) -> bool:
        """Whether the range is one that training goes on from, and is there already."""
        return isinstance(converter.range, LearnedRange) and not found.isnan().any().item()

    def _refuse_unusable(self, signal: RangeObserver) -> None:
        if not signal.peaks.isfinite().all().item():
            raise CimsimError(
                f"layer '{self.name}' saw a value that is not finite while its converters were "
                "calibrated; look for NaN or infinity in the data or the weights"
            )
        peak = signal.peaks.max().item()
        if 0.0 < peak < _SMALLEST_RANGE:
            raise CimsimError(
                f"layer '{self.name}' saw no value above {peak:.2g} while its converters "
                f"were calibrated, and a range must be at least {_SMALLEST_RANGE:g}; scale the "
                "data up"
            )

    @property
    def calibrated(self) -> bool:
        """Whether every converter of the device has its range: a finite one, and above 0 unless
        it is learned."""
        if not self._calibrated:  # reads the device once; loading a state may have set the ranges
            wanted = [
                buffer
                for converter, buffer in (
                    (self._array.dac, self.dac_range),
                    (self._array.adc, self.adc_range),
                )
                if converter is not None
            ]
            unfitted = self.adc_values is not None and self.adc_values.isnan().any().item()
            self._calibrated = not (unfitted or any(_unusable(r).any().item() for r in wanted))
            self._array = self._with_sign(self._array)
        return self._calibrated

    def _with_sign(self, array: Array) -> Array:
        """``array`` with or without a sign of its inputs, as calibration has found."""
        found = self.dac_unsigned
        unsigned = found is not None and not found.is_meta and bool(found.item())
        return array if array.unsigned == unsigned else replace(array, unsigned=unsigned)

    def _ranges(self) -> ConverterRanges:
        if not self.calibrated:
            raise CimsimError(
                f"the converters of layer '{self.name}' have no range yet; show the model some "
                "training data first: cimsim.calibrate(model, batches)"
            )
        dtype = compute_dtype(self.weight)
        # Copies: calibrating again before backward must not change what this forward did. And an
        # optimizer may carry a learned range past zero.
        dac, adc = (
            r.detach().to(dtype).clamp_min(_SMALLEST_RANGE)
            for r in (self.dac_range, self.adc_range)
        )
        values = None if self.adc_values is None else self.adc_values.to(dtype)
        return ConverterRanges(dac, adc, values)


@torch.no_grad()  # activation checkpointing counts what is saved for backward
def _unusable(found: Tensor) -> Tensor:
    # An optimizer may carry a learned range past zero; it is cut off where it is used.
    usable = found.isfinite()
    return ~(usable if isinstance(found, nn.Parameter) else usable & (found > 0))


def compute_dtype(weight: Tensor) -> torch.dtype:
    """What a layer's physics is computed in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def range_key(profile: Profile) -> tuple[object, ...]:
    """Everything that decides what the converters meet, noise and errors apart."""
    cell, dac, adc, array = profile.cell, profile.dac, profile.adc, profile.array
    of_dac = (dac.bits, dac.sign, dac.bit_serial, dac.range)
    of_adc = (adc.bits, adc.range, adc.range_per, adc.codes)
    mapping = (
        array.rows,
        array.row_split,
        array.mapping,
        array.sensing,
        array.slices,
        array.weight_scale,
        cell.levels,
    )
    # Voltages are relative to all conductances, and a digital offset is part of the current.
    at_rest = (cell.g_min_uS / cell.g_max_uS, array.pairs) if array.sensing == "voltage" else ()
    offset = Mapping(cell, array).digital_offset
    return *of_dac, *of_adc, *mapping, offset, *at_rest
