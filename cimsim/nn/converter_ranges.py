"""The full scales of a layer's converters: unknown, measured, fixed by the chip, or learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cimsim.array import Array, ConverterRanges, add_spares
from cimsim.circuits.codes import fixed_table, is_fitted, lloyd_max
from cimsim.circuits.converters import Converter
from cimsim.circuits.mapping import Mapping
from cimsim.circuits.range_groups import RangeGroups
from cimsim.circuits.ranges import RangeObserver, even_steps
from cimsim.dtypes import as_dtype, keep_dtypes
from cimsim.errors import CimsimError
from cimsim.lasting import lasting
from cimsim.nn.layer_kind import LayerKind
from cimsim.profile import (
    ADC,
    DAC,
    FixedRange,
    LearnedRange,
    MinimumErrorRange,
    Profile,
    SigmaRange,
)
from cimsim.profile.base import Section
from cimsim.seeds import seed_for

# Smaller full scales would underflow in float32 once they are divided into steps.
SMALLEST_RANGE = 1e-30


_MARKS = 251

# Results of calibration, in a layer's state.
CALIBRATED = ("dac_range", "adc_range", "adc_values", "dac_unsigned")


class SignalObserver:
    """Ranges of one layer's signals during calibration: of its input, and of the currents of its
    columns, for each group of columns that share a range.

    ``array`` computes the columns: a perfect array, or (``on_chip``) the array of the chip itself,
    with read noise.
    """

    def __init__(self, array: Array, groups: int, on_chip: bool) -> None:
        self.array, self.on_chip = array, on_chip
        self.input = RangeObserver()
        self.columns = RangeObserver(groups)

    @property
    def silent(self) -> bool:
        """Whether all inputs or all currents of the columns were 0."""
        return self.input.seen and not self.columns.peaks.any().item()

    @property
    def unsigned(self) -> bool:
        """Whether no input was below 0."""
        return self.input.lowest >= 0


class CalibratedRanges(NamedTuple):
    """Calibration results of a layer; None for values that do not change.

    ``dac`` and ``adc`` are full scales, ``adc_values`` those of the ADC's codes over the range;
    ``unsigned`` is whether inputs have no sign.
    """

    dac: Tensor | None
    adc: Tensor | None
    adc_values: Tensor | None = None
    unsigned: bool = False


class Ranged(LayerKind):
    """A layer with ranges of its converters.

    Attributes:
        dac_range, adc_range: full scales of the converters (buffers, or parameters where a
            converter with bits learns them; in float32; NaN until calibrated), see
            :class:`cimsim.array.ConverterRanges`.
        adc_values: values of the ADC's codes over its range, ``[2^bits]``, where the profile has
            them fitted to the data; None elsewhere.
        dac_unsigned: 1 if the inputs have no sign and 0 if they have (int8), where the profile's
            DAC can do without; None elsewhere.
        observer: observes the signals during calibration; None at other times.
        ranges_left_out: whether the state that is being loaded had ranges of other converters.
    """

    name: str
    dac_range: Tensor
    adc_range: Tensor
    adc_values: Tensor | None
    dac_unsigned: Tensor | None
    observer: SignalObserver | None
    ranges_left_out: bool = False
    _array: Array
    _calibrated: bool

    @property
    def _precise(self) -> dict[str, Tensor]:
        """Tensors that stay in float32 when the layer is cast."""
        ranges = {name: getattr(self, name) for name in CALIBRATED if name != "dac_unsigned"}
        return {name: tensor for name, tensor in ranges.items() if tensor is not None}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move the ranges with the layer, but keep them in float32: ``half()`` would overflow."""
        ranges = {name: tensor.detach() for name, tensor in self._precise.items()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        keep_dtypes(self, ranges)
        return self

    def _keep_precise(self) -> None:
        """Make the ranges float32 where they have become another dtype."""
        for tensor in self._precise.values():
            if tensor.dtype != torch.float32:
                tensor.data = tensor.detach().float()

    @property
    def _range_groups(self) -> RangeGroups:
        """The columns that share a full scale of their ADCs."""
        matrix = self.to_matrix(torch.empty(self.weight.shape, device="meta"))
        spares, tiling = self._array.profile.array.spare_columns, self._array.tiling
        columns = tiling.to_cells(add_spares(matrix, tiling.groups, spares)).shape[1]
        return self._array.range_groups(columns * self._array.profile.array.slices)

    def _forget_ranges(self, keep_dac: bool = False) -> None:
        """Reset the ranges to unknown, on the weight's device; that of the DAC may stay."""
        profile = self._array.profile
        of_adc = self._range_groups.shape
        self._renew_dac_range(self.dac_range if keep_dac else None)
        self._new_range("adc_range", of_adc, _is_learnable(profile.adc))
        self.adc_values = self.dac_unsigned = None
        if is_fitted(profile.adc):
            self._new_range("adc_values", (1 << (profile.adc.bits or 0),), False)
        if profile.dac.sign == "if-needed":
            with lasting():
                # Not a bool, because the states of several models may be averaged.
                self.dac_unsigned = torch.zeros((), dtype=torch.int8, device=self.weight.device)
        self._calibrated = False

    def _renew_dac_range(self, before: Tensor | None) -> None:
        """Register the range of the DAC with the value of ``before``, which is kept if it is a
        parameter, because an optimizer may have it."""
        known = before is not None and is_known(before)
        learns = _is_learnable(self._array.profile.dac)
        if isinstance(before, nn.Parameter) and (learns or known):
            return
        self._new_range("dac_range", (), learns)
        if before is not None and known:
            self.dac_range.data.copy_(before.detach())

    def _new_range(self, name: str, shape: tuple[int, ...], learned: bool) -> None:
        """Register an unknown range: a parameter if it is learned, or else a buffer."""
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
            # Saved by an older version, in which all slices of a layer shared one range.
            state_dict[key] = of_layer.expand(shape).clone()
        elif isinstance(of_layer, Tensor) and of_layer.shape == (self._array.tiling.tiles,):
            # Saved by an older version, in which adjacent tiles shared one range.
            if len(shape) == 1 and shape[0] % len(of_layer) == 0:
                state_dict[key] = of_layer.repeat_interleave(shape[0] // len(of_layer))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def _set_fixed_ranges(self) -> None:
        """Set the full scales that the profile fixes: of the DAC, and of the ADC in its units."""
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

    def _with_observed_sign(self, observer: SignalObserver, array: Array) -> Array:
        """``array`` for signed or unsigned inputs, depending on the inputs observed so far."""
        if array.profile.dac.sign == "always":
            return array
        if not observer.input.peaks.any().item():  # zeros have any sign
            return self._with_sign(array)
        return replace(array, unsigned=observer.unsigned)

    def observed_ranges(self) -> CalibratedRanges | None:
        """Ranges for the observed signals; None if no signal reached this layer. Zeros do not
        determine a range: a known range stays, an unknown one becomes 1.

        Raises:
            CimsimError: if an observed value is not finite, or all are too small for a range in
                float32.
        """
        assert self.observer is not None
        observer = self.observer
        if not observer.input.seen:
            return None
        array = self._with_observed_sign(observer, self._array)
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
        return CalibratedRanges(dac_range, adc_range, adc_values, array.unsigned)

    def _adc_scales(
        self, columns: RangeObserver, adc: ADC, converter: Converter
    ) -> tuple[Tensor, Tensor | None]:
        """Full scales of the ADC, and the values of its codes over them if these are fitted."""
        if is_fitted(adc) and not columns.peaks.any().item():  # no values to fit
            known = self.adc_values is not None and not self.adc_values.isnan().any().item()
            like: Any = {"dtype": torch.float32, "device": "cpu"}
            even = None if known else torch.linspace(-1.0, 1.0, 1 << converter.bits, **like)
            return torch.ones(columns.groups, **like), even
        if self._has_learned(adc, self.adc_range):
            scales = self.adc_range.detach().cpu().reshape(-1)
        elif is_fitted(adc) and isinstance(adc.range, MinimumErrorRange | LearnedRange):
            # The values are free, so all columns have one scale; the largest value is the range.
            alike = columns.full_scales(SigmaRange(k=1.0), even_steps(converter.levels))
            values = lloyd_max(columns.samples / alike.unsqueeze(1), converter.bits)
            largest = values.abs().max().float()
            return alike * largest, values / largest
        else:
            table = fixed_table(adc, columns.peaks.float())
            quantize = even_steps(converter.levels) if table is None else table.coded
            scales = columns.full_scales(adc.range, quantize, adc.noise_of_range)
        if not is_fitted(adc):
            return scales, None
        over_range = columns.samples / scales.unsqueeze(1)
        return scales, lloyd_max(over_range.clamp(-1.0, 1.0), converter.bits)

    @staticmethod
    def _unless_silent(signal: RangeObserver, scales: Tensor, known: Tensor) -> Tensor:
        """The ``scales``, or the ``known`` ones of signals that were 0 throughout."""
        before = known.detach().cpu().reshape(-1)
        return torch.where((signal.peaks == 0.0) & ~before.isnan(), before, scales)

    @torch.no_grad()
    def set_ranges(self, ranges: CalibratedRanges) -> None:
        """Set calibrated ranges; ranges that the profile fixes stay."""
        for known, new in (
            (self.dac_range, ranges.dac),
            (self.adc_range, ranges.adc),
            (self.adc_values, ranges.adc_values),
        ):
            if known is not None and new is not None:
                known.copy_(new.view(known.shape))
        if self.dac_unsigned is not None:
            self.dac_unsigned.fill_(ranges.unsigned)
        self._set_fixed_ranges()
        self.ranges_changed()

    def ranges_changed(self) -> None:
        """Match the sign of the inputs now, and check the ranges at the next use."""
        self._match_sign()
        self._calibrated = False

    def get_extra_state(self) -> Tensor:
        """As :class:`cimsim.nn.draws.NamedDraws`, then :func:`range_marks` of the profile."""
        ours = torch.tensor(range_marks(self._array.profile), dtype=torch.int64, device="cpu")
        return torch.cat((super().get_extra_state(), ours))

    def _drop_ranges_of_others(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Remove the ranges of a checkpoint for other converters, and those of this layer, which
        belong to other weights; a learned range of the inputs does not depend on the converters."""
        marks = marks_of(state_dict.get(f"{prefix}_extra_state"))
        fits = marks is None or marks in self._usable_marks()
        adc_range = state_dict.get(f"{prefix}adc_range")
        if self.adc_range.dim() == 0 and isinstance(adc_range, Tensor):
            fits &= adc_range.numel() == 1  # torch loads the first of several numbers
        if fits:
            return
        self.ranges_left_out = not self.dac_range.is_meta
        kept = "dac_range" if isinstance(self._array.profile.dac.range, LearnedRange) else None
        for name in CALIBRATED:
            if name != kept:
                state_dict.pop(f"{prefix}{name}", None)
        with torch.no_grad():
            for name, known in self._precise.items():
                if name != kept:
                    known.fill_(torch.nan)
        self._set_fixed_ranges()

    def _usable_marks(self) -> set[tuple[int, int]]:
        """The :func:`range_marks` of the states whose ranges this layer can use: of the same
        groups, and of one range for the layer, which becomes that of all its groups. Those of
        older versions depended neither on ``range_per`` nor on the width of tiles; layers wider
        than a tile had other scales per tile then."""
        profile = self._array.profile
        of_layer = _with_range_per(profile, "layer")
        usable = {range_marks(profile), range_marks(of_layer)}
        if not (profile.array.weight_scale == "tile" and self._range_groups.abreast > 1):
            width, key = _of_tile(of_layer), range_key(of_layer)
            usable.add(_marks(key[: len(key) - len(width)]))
        return usable

    @property
    def learned_ranges(self) -> list[nn.Parameter]:
        """The ranges that are parameters."""
        every = (self.dac_range, self.adc_range)
        return [known for known in every if isinstance(known, nn.Parameter)]

    @staticmethod
    def _has_learned(converter: DAC | ADC, known: Tensor) -> bool:
        """Whether the range is learned, and known already."""
        return isinstance(converter.range, LearnedRange) and is_known(known)

    def _refuse_unusable(self, signal: RangeObserver) -> None:
        if not signal.peaks.isfinite().all().item():
            raise CimsimError(
                f"layer '{self.name}': a signal was not finite while its converters were "
                "calibrated; look for NaN or infinity in the data or the weights"
            )
        peak = signal.peaks.max().item()
        if 0.0 < peak < SMALLEST_RANGE:
            raise CimsimError(
                f"layer '{self.name}': the largest signal was {peak:.2g} while its converters were "
                f"calibrated, but a range must be at least {SMALLEST_RANGE:g}; scale the data up"
            )

    @property
    def calibrated(self) -> bool:
        """Whether the range of every converter is finite, and above 0 unless it is learned."""
        if not self._calibrated:  # reads the device once; loading a state may have set the ranges
            ranges = [
                buffer
                for converter, buffer in (
                    (self._array.dac, self.dac_range),
                    (self._array.adc, self.adc_range),
                )
                if converter is not None
            ]
            unfitted = self.adc_values is not None and self.adc_values.isnan().any().item()
            self._calibrated = not (unfitted or any(_unusable(r).any().item() for r in ranges))
            if self._calibrated:
                self._raise_smallest_ranges()
            self._match_sign()
        return self._calibrated

    @torch.no_grad()
    def _raise_smallest_ranges(self) -> None:
        """Replace ranges that are too small for steps; tensors of the caller stay as they are."""
        for name in ("dac_range", "adc_range"):
            known = self._buffers.get(name)
            if known is not None and bool((known < SMALLEST_RANGE).any()):
                self._buffers[name] = known.clamp_min(SMALLEST_RANGE)

    def _match_sign(self) -> None:
        """Make the array one for signed or unsigned inputs, as calibrated."""
        self._array = self._with_sign(self._array)

    def _with_sign(self, array: Array) -> Array:
        """``array`` for signed or unsigned inputs, as calibrated."""
        flag = self.dac_unsigned
        unsigned = flag is not None and not flag.is_meta and bool(flag.item())
        return array if array.unsigned == unsigned else replace(array, unsigned=unsigned)

    def _ranges(self, dtype: torch.dtype) -> ConverterRanges:
        """The ranges of one call that computes in ``dtype``."""
        if not self.calibrated:
            raise CimsimError(
                f"the converters of layer '{self.name}' have no range yet; calibrate the model "
                "with some training data first: cimsim.calibrate(model, batches)"
            )
        values = self.adc_values
        dac, adc = _in_use(self.dac_range, dtype), _in_use(self.adc_range, dtype)
        return ConverterRanges(dac, adc, None if values is None else values.to(dtype))


def _is_learnable(converter: DAC | ADC) -> bool:
    """Whether the range is a parameter: learned, and of a converter that has one."""
    return converter.bits is not None and isinstance(converter.range, LearnedRange)


def is_known(full_scale: Tensor) -> bool:
    """Whether a range has been calibrated, set or loaded."""
    return not full_scale.is_meta and not full_scale.isnan().any().item()


def _in_use(known: Tensor, dtype: torch.dtype) -> Tensor:
    """The range ``known`` for one call."""
    if type(known) is Tensor and not torch.is_grad_enabled():
        return as_dtype(known, dtype)
    # A copy: calibrating again before backward must not change this forward pass. And an optimizer
    # may move a learned range below zero.
    known = known.detach() if known.requires_grad else known
    return as_dtype(known, dtype).clamp_min(SMALLEST_RANGE)


@torch.no_grad()  # activation checkpointing counts what is saved for backward
def _unusable(known: Tensor) -> Tensor:
    # An optimizer may move a learned range below zero; it is clamped where it is used.
    usable = known.isfinite()
    return ~(usable if isinstance(known, nn.Parameter) else usable & (known > 0))


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Dtype of a layer's physics."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def range_marks(profile: Profile) -> tuple[int, int]:
    """Two numbers that name :func:`range_key` in checkpoints, from 0 to 250, which half precision
    holds exactly. Sources and settings with their default value do not change them."""
    return _marks(range_key(_of_one_slice(profile)))


def _marks(key: tuple[object, ...]) -> tuple[int, int]:
    parts: list[object] = []
    for part in key:
        if isinstance(part, Section):
            content = part.model_dump(exclude={"source"}, exclude_defaults=True)
            part = {**content, "kind": getattr(part, "kind", None)}
        parts.append(part)
    high, low = divmod(seed_for("ranges", *parts) % _MARKS**2, _MARKS)
    return high, low


def _with_range_per(profile: Profile, per: str) -> Profile:
    return profile.model_copy(update={"adc": profile.adc.model_copy(update={"range_per": per})})


def _of_one_slice(profile: Profile) -> Profile:
    """``profile`` with one range for the layer, if that of each slice is the same."""
    per_slice = profile.adc.range_per == "slice" and profile.array.slices == 1
    return _with_range_per(profile, "layer") if per_slice else profile


def marks_of(extra_state: object) -> tuple[int, int] | None:
    """The :func:`range_marks` in the extra state of a layer; None in those of older versions."""
    if not isinstance(extra_state, Tensor) or extra_state.is_meta or extra_state.numel() != 4:
        return None
    if not extra_state.isfinite().all():
        return None
    high, low = map(round, extra_state.flatten().tolist()[2:])
    return high, low


def range_key(profile: Profile) -> tuple[object, ...]:
    """Everything that the converters' signals depend on, except noise and errors."""
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
    return *of_dac, *of_adc, *mapping, offset, *at_rest, *_of_tile(profile)


def _of_tile(profile: Profile) -> tuple[int, ...]:
    """The width of a tile, where its columns share a range or a scale."""
    shares = "tile" in (profile.adc.range_per, profile.array.weight_scale)
    return (profile.array.weight_columns,) if shares else ()
