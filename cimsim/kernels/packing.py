"""A profile's cell physics as the row of numbers that the fused kernel reads.

The kernel covers cells on their own: mapping on pairs or single devices, programming noise,
power-law and tabulated drift, Gaussian read noise and its slow part. What else a profile may say
(variation by place, faults, temperature, wires, bent I-V curves, several pairs, slices, levels,
write-and-verify) is left to the plain physics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from cimsim.profile import (
    AbsoluteOneOverFReadNoise,
    AgingEffect,
    AnyCurve,
    CappedPower,
    CellSpec,
    ClippedLog,
    FlickerReadNoise,
    FlickerTimes,
    GaussianProgrammingNoise,
    GaussianReadNoise,
    LogPolynomial,
    OneOverFReadNoise,
    Piecewise,
    Polynomial,
    PowerLawDrift,
    Profile,
    RelativeProgrammingNoise,
    RelativeReadNoise,
    Saturating,
    StateDependentProgrammingNoise,
    StateDependentReadNoise,
    Table,
    TabulatedDrift,
)


class Drawn(NamedTuple):
    """A normal number of each cell: that of effect ``number`` of a ``family``, and how much of its
    variance stays when the chip is written again."""

    family: str
    number: int
    device_share: float


@dataclass(frozen=True)
class Recipe:
    """``numbers`` in the order of the kernel's ``Physics``, the names of static draws, and of every
    read noise its index and times, from which follow those of its slow part.

    ``digital_offset`` is what is subtracted from relative currents behind the ADC.
    """

    numbers: tuple[float, ...]
    draws: tuple[Drawn, ...]
    flicker: tuple[tuple[int, FlickerTimes | None], ...]
    reads: bool
    drifts: bool
    digital_offset: float

    @property
    def of_weights(self) -> Recipe:
        """The same for cells from whose currents the digital offset is subtracted as well."""
        if not self.digital_offset:
            return self
        offset = self.numbers[0] + self.digital_offset
        return replace(self, numbers=(offset, *self.numbers[1:]), digital_offset=0.0)


def not_programmed(profile: Profile) -> tuple[str, ...]:
    """What in ``profile`` keeps its cells off the kernel, by the names of its settings."""
    cell, array, wires = profile.cell, profile.array, profile.wires
    drifts = any(effect.strength for effect in cell.drift)
    settings = {
        "array.mapping": array.mapping == "offset-column",
        "array.pairs": array.pairs is not None,
        "array.sensing": array.sensing == "voltage",
        "array.slices": array.slices > 1,
        "array.drift_probe": drifts and array.drift_probe == "measured",
        "cell.levels": cell.levels is not None,
        "cell.write_verify": cell.write_verify is not None,
        "cell.endurance": cell.endurance is not None and cell.endurance.strength > 0,
        "cell.iv": cell.iv is not None and cell.iv.strength > 0,
        "wires": wires is not None and wires.strength > 0,
    }
    families: dict[str, list[list[float] | None]] = {
        "programming_noise": [_programming(e, cell) for e in cell.programming_noise if e.strength],
        "variation": [None for e in cell.variation if e.strength],
        "drift": [_drift(e, profile) for e in cell.drift if e.strength],
        "temperature": [None for e in cell.temperature if e.strength],
        "faults": [None for e in cell.faults if e.strength],
        "read_noise": [_read(e, cell) for e in cell.read_noise if e.strength],
    }
    return (
        *(name for name, is_set in settings.items() if is_set),
        *(f"cell.{name}" for name, parts in families.items() if None in parts),
    )


def recipe(profile: Profile) -> Recipe | None:
    """The recipe of ``profile``'s cells; None if the kernel does not cover them."""
    if not_programmed(profile):
        return None
    cell, array = profile.cell, profile.array
    programming = [(i, e) for i, e in enumerate(cell.programming_noise) if e.strength]
    drift = [(i, e) for i, e in enumerate(cell.drift) if e.strength]
    read = [(i, e) for i, e in enumerate(cell.read_noise) if e.strength]
    parts: list[list[float] | None] = [
        *(_programming(effect, cell) for _, effect in programming),
        [float(len(drift))],
        *(_drift(effect, profile) for _, effect in drift),
        [float(len(read))],
        *(_read(effect, cell) for _, effect in read),
    ]
    paired = array.mapping == "differential-pair"
    span_uS = cell.g_max_uS - cell.g_min_uS
    offset = 0.0 if paired else (cell.g_min_uS + cell.g_max_uS) / span_uS
    is_digital = array.mapping == "single-device"
    numbers = [0.0 if is_digital else offset, float(paired), cell.g_min_uS, span_uS]
    numbers += [*cell.bounds_uS, float(len(programming))]
    for part in parts:
        assert part is not None
        numbers += part
    draws = [Drawn("programming", i, e.device_share) for i, e in programming]
    draws += [Drawn("drift", i, e.device_share) for i, e in drift]
    flicker = [(i, e.times if isinstance(e, FlickerReadNoise) else None) for i, e in read]
    return Recipe(
        *(tuple(numbers), tuple(draws), tuple(flicker), bool(read), bool(drift)),
        offset if is_digital else 0.0,
    )


def _curve(curve: AnyCurve) -> list[float]:
    """Length, kind and numbers; kinds count in the order of the kernel's ``Shape``."""
    if isinstance(curve, Polynomial):
        return _laid(0, curve.coefficients)
    if isinstance(curve, ClippedLog):
        return _laid(1, (curve.slope, curve.intercept, curve.min, curve.max))
    if isinstance(curve, CappedPower):
        if curve.coefficient == 0 or curve.max == 0:
            return _constant(0.0)
        return _laid(
            2, (curve.coefficient, curve.exponent, math.log(curve.max / curve.coefficient))
        )
    if isinstance(curve, LogPolynomial):
        return _laid(3, curve.coefficients)
    if isinstance(curve, Saturating):
        return _laid(4, (curve.amplitude, -1 / curve.scale))
    if isinstance(curve, Table):
        points = list(zip(curve.r, curve.values, strict=True))
        slopes = [(v1 - v0) / (r1 - r0) for (r0, v0), (r1, v1) in pairwise(points)] + [0.0]
        return _laid(5, [n for (r, v), s in zip(points, slopes, strict=True) for n in (r, v, s)])
    assert isinstance(curve, Piecewise)
    return _laid(6, [curve.at, *_curve(curve.below), *_curve(curve.above)])


def _laid(kind: int, numbers: tuple[float, ...] | list[float]) -> list[float]:
    return [2.0 + len(numbers), float(kind), *numbers]


def _constant(value: float) -> list[float]:
    return _laid(0, (value,))


def _size(cell: CellSpec) -> list[float]:
    """``f(g) = |g|``."""
    line = _laid(0, (0.0, 1.0))
    return _laid(6, [0.0, *_laid(0, (0.0, -1.0)), *line]) if cell.signed else line


def _programming(effect: object, cell: CellSpec) -> list[float] | None:
    """1 / g_ref, factors of spread and bias, and their curves."""
    if isinstance(effect, StateDependentProgrammingNoise):
        bias = _constant(0.0) if effect.bias_uS is None else _curve(effect.bias_uS)
        factors = [1 / effect.g_ref_uS, effect.strength * effect.spread_strength, effect.strength]
        return [*factors, *_curve(effect.sigma_uS), *bias]
    if isinstance(effect, RelativeProgrammingNoise):
        return [1.0, effect.strength * effect.sigma_of_g, 0.0, *_size(cell), *_constant(0.0)]
    if isinstance(effect, GaussianProgrammingNoise):
        sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
        return [0.0, 1.0, 0.0, *_constant(sigma_uS), *_constant(0.0)]
    return None


def _drift(effect: object, profile: Profile) -> list[float] | None:
    """Whether a power law, 1 / g_ref, factors of mean and spread, times in s at the temperature of
    storage, curves of both."""
    if not isinstance(effect, AgingEffect):
        return None
    faster = effect.reference_age_s(1.0, profile.temperature_C)
    factors = [effect.strength, effect.strength * effect.spread_strength]
    if isinstance(effect, PowerLawDrift):
        factors = [factor * effect.steepness(profile.temperature_C) for factor in factors]
        curves = [*_curve(effect.nu_mean), *_curve(effect.nu_std)]
        return [1.0, 1 / effect.g_ref_uS, *factors, 1.0, effect.t0_s / faster, *curves]
    if isinstance(effect, TabulatedDrift) and not effect.temperatures_C:
        times = [float(len(effect.times_s)), *(time_s / faster for time_s in effect.times_s)]
        still = [_constant(0.0)] * len(effect.times_s)
        means = [_curve(c) for c in effect.shift_uS] if effect.shift_uS else still
        spreads = [_curve(c) for c in effect.sigma_uS]
        flat = [number for curve in means + spreads for number in curve]
        return [0.0, 1 / effect.g_ref_uS, *factors, *times, *flat]
    return None


def _read(effect: object, cell: CellSpec) -> list[float] | None:
    """Of the target or the conductance, times it or not, under a root or not; 1 / g_ref, factor,
    and for flicker noise the seconds added to the age, those of a session and of a read; the
    curve."""
    if isinstance(effect, OneOverFReadNoise):
        grows = [effect.t0_s, effect.t_session_s, effect.t_read_ns * 1e-9]
        return [1.0, 1.0, 0.0, 1 / effect.g_ref_uS, effect.strength, *grows, *_curve(effect.q)]
    if isinstance(effect, AbsoluteOneOverFReadNoise):
        grows = [0.0, effect.t_session_s, effect.t_read_ns * 1e-9]
        head = [0.0, 0.0, 0.0, 1 / effect.g_ref_uS, effect.strength]
        return [*head, *grows, *_curve(effect.amplitude_uS)]
    white = [0.0, 0.0, 0.0]
    if isinstance(effect, StateDependentReadNoise):
        head = [0.0, 0.0, 0.0, 1 / effect.g_ref_uS, effect.strength]
        return [*head, *white, *_curve(effect.sigma_uS)]
    if isinstance(effect, RelativeReadNoise):
        return [0.0, 0.0, 0.0, 1.0, effect.strength * effect.sigma_of_g, *white, *_size(cell)]
    if isinstance(effect, GaussianReadNoise):
        sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
        return [0.0, 0.0, 0.0, 0.0, 1.0, *white, *_constant(sigma_uS)]
    return None
