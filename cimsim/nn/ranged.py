"""The full scales of a layer's converters: unknown, measured, fixed by the chip, or learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.array import Array, ConverterRanges
from cimsim.circuits.ranges import RangeObserver
from cimsim.errors import CimsimError
from cimsim.lasting import lasting
from cimsim.profile import ADC, DAC, FixedRange, LearnedRange, Profile

# Smaller full scales would underflow in float32 once they are divided into steps.
_SMALLEST_RANGE = 1e-30


class SignalObserver:
    """Ranges of one layer's signals during calibration: of its input, and of the columns of each
    tile (of all tiles together where they share one range).

    ``array`` is what the columns are computed on: a perfect one, or that of the chip itself, with
    its reads, if ``on_chip``.
    """

    def __init__(self, array: Array, on_chip: bool) -> None:
        self.array, self.on_chip = array, on_chip
        tiles = array.tiling.tiles if array.profile.adc.range_per == "tile" else 1
        self.input = RangeObserver()
        self.columns = [RangeObserver() for _ in range(tiles)]

    @property
    def silent(self) -> bool:
        """Whether nothing but zeros came in, or came out of the columns."""
        return self.input.seen and all(columns.peak == 0.0 for columns in self.columns)


class Ranged(nn.Module):
    """A layer with converters, as far as their ranges are concerned.

    Attributes:
        dac_range, adc_range: full scales of the converters (buffers, or parameters where they are
            learned; in float32; NaN until calibrated; that of the ADC has one entry for each
            tile if the profile says so), see :class:`cimsim.array.ConverterRanges`.
        observer: what looks at the signals during calibration; None at other times.
    """

    name: str
    weight: Tensor
    dac_range: Tensor
    adc_range: Tensor
    observer: SignalObserver | None
    _array: Array
    _calibrated: bool

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move the ranges with the layer, but keep them in float32: ``half()`` would overflow."""
        # Detached, as a parameter stays the same object while its data are replaced.
        ranges = {name: getattr(self, name).detach() for name in ("dac_range", "adc_range")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, precise in ranges.items():
            moved = getattr(self, name)
            if moved.dtype != precise.dtype:
                moved.data = precise.to(moved.device)
        return self

    def _keep_precise(self) -> None:
        """Make the ranges float32 where they have become another dtype."""
        for name in ("dac_range", "adc_range"):
            found = getattr(self, name)
            if found.dtype != torch.float32:
                found.data = found.detach().float()

    def _forget_ranges(self) -> None:
        """Ranges that are not known, on the weight's device."""
        profile = self._array.profile
        per_tile = profile.adc.range_per == "tile"
        shape = (self._array.tiling.tiles,) if per_tile else ()
        self._new_range("dac_range", (), isinstance(profile.dac.range, LearnedRange))
        self._new_range("adc_range", shape, isinstance(profile.adc.range, LearnedRange))
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

    @torch.no_grad()
    def _set_fixed_ranges(self) -> None:
        """The full scales that the chip fixes: of the DAC, and in its units those of the ADC."""
        dac, adc = self._array.profile.dac, self._array.profile.adc
        if isinstance(dac.range, FixedRange):
            self.dac_range.fill_(dac.range.full_scale)
        if isinstance(adc.range, FixedRange):
            one_input = 1.0 if dac.bits is None or dac.bit_serial else self.dac_range
            self.adc_range.fill_(adc.range.full_scale * self._array.mapping.full_cell * one_input)

    def _dac_scale(self, observer: SignalObserver) -> float:
        assert self._array.dac is not None
        return observer.input.full_scale(self._array.profile.dac.range, self._array.dac.levels)

    def observed_ranges(self) -> tuple[Tensor | None, Tensor | None] | None:
        """Full scales of DAC and ADC that suit what the observer saw; None for a converter whose
        range stays as it is, and None altogether if no signal reached this layer. Zeros do not
        determine a range: a known range stays, an unknown one becomes 1.

        Raises:
            CimsimError: if the observer saw a value that is not finite, or only values too small
                for a range in float32.
        """
        assert self.observer is not None
        observer = self.observer
        if not observer.input.seen:
            return None
        dac, adc = self._array.profile.dac, self._array.profile.adc
        dac_range = adc_range = None
        if self._array.dac is not None and not self._has_learned(dac, self.dac_range):
            self._refuse_unusable(observer.input)
            dac_range = self._unless_silent(
                [observer.input], [self._dac_scale(observer)], self.dac_range
            )
        if self._array.adc is not None and not self._has_learned(adc, self.adc_range):
            scales = []
            for columns in observer.columns:
                self._refuse_unusable(columns)
                levels = self._array.adc.levels
                scales.append(columns.full_scale(adc.range, levels, adc.noise_of_range))
            adc_range = self._unless_silent(observer.columns, scales, self.adc_range)
        return dac_range, adc_range

    @staticmethod
    def _unless_silent(signals: list[RangeObserver], scales: list[float], known: Tensor) -> Tensor:
        """The ``scales``, but what is ``known`` where a signal was zero throughout."""
        silent = torch.tensor([signal.peak == 0.0 for signal in signals])
        before = known.detach().cpu().reshape(-1)
        return torch.where(silent & ~before.isnan(), before, torch.tensor(scales))

    @torch.no_grad()
    def set_ranges(self, dac_range: Tensor | None, adc_range: Tensor | None) -> None:
        """Fix the converters' ranges; None keeps one, and the device's fixed ranges stay."""
        if dac_range is not None:
            self.dac_range.copy_(dac_range.view(self.dac_range.shape))
        if adc_range is not None:
            self.adc_range.copy_(adc_range.view(self.adc_range.shape))
        self._set_fixed_ranges()
        self._calibrated = False  # to be looked at when the ranges are next used

    @staticmethod
    def _has_learned(converter: DAC | ADC, found: Tensor) -> bool:
        """Whether the range is one that training goes on from, and is there already."""
        return isinstance(converter.range, LearnedRange) and not found.isnan().any().item()

    def _refuse_unusable(self, signal: RangeObserver) -> None:
        if not math.isfinite(signal.peak):
            raise CimsimError(
                f"layer '{self.name}' saw a value that is not finite while its converters were "
                "calibrated; look for NaN or infinity in the data or the weights"
            )
        if 0.0 < signal.peak < _SMALLEST_RANGE:
            raise CimsimError(
                f"layer '{self.name}' saw no value above {signal.peak:.2g} while its converters "
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
            self._calibrated = not any(_unusable(found).any().item() for found in wanted)
        return self._calibrated

    def _ranges(self) -> ConverterRanges:
        if not self.calibrated:
            raise CimsimError(
                f"the converters of layer '{self.name}' have no range yet; show the model some "
                "training data first: cimsim.calibrate(model, batches)"
            )
        dtype = compute_dtype(self.weight)
        # Copies: calibrating again before backward must not change what this forward did. And an
        # optimiser may carry a learned range past zero.
        dac, adc = (
            r.detach().to(dtype).clamp_min(_SMALLEST_RANGE)
            for r in (self.dac_range, self.adc_range)
        )
        return ConverterRanges(dac, adc)


def _unusable(found: Tensor) -> Tensor:
    # An optimizer may carry a learned range past zero; it is cut off where it is used.
    usable = found.isfinite()
    return ~(usable if isinstance(found, nn.Parameter) else usable & (found > 0))


def compute_dtype(weight: Tensor) -> torch.dtype:
    """What a layer's physics is computed in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def range_key(profile: Profile) -> tuple[object, ...]:
    """Everything that decides what the converters meet, noise and errors apart."""
    dac, adc, array = profile.dac, profile.adc, profile.array
    converters = (dac.bits, dac.bit_serial, dac.range, adc.bits, adc.range, adc.range_per)
    mapping = (
        array.rows,
        array.row_split,
        array.mapping,
        array.slices,
        array.weight_scale,
        profile.cell.levels,
    )
    return *converters, *mapping
