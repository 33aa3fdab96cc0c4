"""A profile's cell physics as named numbers, in the order in which ``cells.h`` reads them.

The kernels program cells with a mapping on pairs or single cells, programming noise, power-law and
tabulated drift, and Gaussian read noise with its slow part. All other physics (variation by place,
faults, temperature, wires, several pairs, slices, levels, write-and-verify, and nonlinear cells
unless all bend alike) runs in plain torch. A new kind of effect does too, unless a ``pack_``
function has a handler for it.

In memory, a structure is its fields one after the other, a number or flag is one float, and a tuple
is its length followed by its entries; :class:`PackedCurve` describes curves. ``Reader`` in
``cells.h`` is the other side.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from functools import cached_property, singledispatch
from itertools import pairwise
from typing import NamedTuple

from cimsim.profile import (
    AbsoluteOneOverFReadNoise,
    AgingEffect,
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


class PackedCurve(NamedTuple):
    """A curve: its kind in the order of ``Shape`` in ``curves.h``, and its numbers.

    In memory: the length of the whole curve, the kind, the numbers.
    """

    kind: int
    numbers: tuple[float, ...]


class PackedProgramming(NamedTuple):
    """``g += bias * bias_curve(r) + sigma * sigma_curve(r) * xi``, ``r = per_uS * g_target``."""

    per_uS: float
    sigma: float
    bias: float
    sigma_curve: PackedCurve
    bias_curve: PackedCurve


class PackedDrift(NamedTuple):
    """A power law in ``t / times_s[0]``, or a change that is tabulated at ``times_s``; one curve of
    the mean and one of the spread per time, as functions of ``r = per_uS * g_target``."""

    power_law: bool
    per_uS: float
    mean: float
    spread: float
    times_s: tuple[float, ...]
    mean_curves: tuple[PackedCurve, ...]
    spread_curves: tuple[PackedCurve, ...]


class PackedRead(NamedTuple):
    """``sigma = size * curve(per_uS * g)`` with the current conductance, or with the target
    (``of_target``); multiplied by the current conductance (``times_g``).

    The variance of flicker noise grows with ``min(age + before_s, session_s)``; ``read_s`` is 0 for
    white noise.
    """

    of_target: bool
    times_g: bool
    per_uS: float
    size: float
    before_s: float
    session_s: float
    read_s: float
    curve: PackedCurve


class Drawn(NamedTuple):
    """A static normal number of each cell: effect ``number`` of a ``family``, and the share of its
    variance that stays when the chip is written again."""

    family: str
    number: int
    device_share: float


@dataclass(frozen=True, eq=False)
class PackedPhysics:
    """The physics of a profile's cells.

    Attributes:
        offset: subtracted from relative currents.
        paired: whether a weight is the difference of two cells.
        g_min_uS, span_uS: range of the targets.
        floor_uS, ceiling_uS: bounds of a cell.
        programming, drift, read: the effects, in their order.
        draws: static normal numbers of programming and drift, in the order of the effects.
        flicker: for each read noise, its position in the profile, and its times if it has a slow
            part.
        digital_offset: subtracted from relative currents behind the ADC.
    """

    offset: float
    paired: bool
    g_min_uS: float
    span_uS: float
    floor_uS: float
    ceiling_uS: float
    programming: tuple[PackedProgramming, ...]
    drift: tuple[PackedDrift, ...]
    read: tuple[PackedRead, ...]
    draws: tuple[Drawn, ...]
    flicker: tuple[tuple[int, FlickerTimes | None], ...]
    digital_offset: float

    @property
    def reads(self) -> bool:
        """Whether reads are noisy."""
        return bool(self.read)

    @property
    def drifts(self) -> bool:
        """Whether cells drift."""
        return bool(self.drift)

    @cached_property
    def of_weights(self) -> PackedPhysics:
        """The physics with the digital offset subtracted from the currents of the cells as well."""
        if not self.digital_offset:
            return self
        return replace(self, offset=self.offset + self.digital_offset, digital_offset=0.0)

    @cached_property
    def numbers(self) -> array[float]:
        """The row of float32 numbers that ``Physics`` in ``cells.h`` reads."""
        cell = (self.offset, self.paired, self.g_min_uS, self.span_uS)
        bounds = (self.floor_uS, self.ceiling_uS)
        parts = (*cell, *bounds, self.programming, self.drift, self.read)
        return array("f", [number for part in parts for number in _flat(part)])


def _flat(part: object) -> list[float]:
    if isinstance(part, PackedCurve):
        return [2.0 + len(part.numbers), float(part.kind), *part.numbers]
    if isinstance(part, tuple):
        length = [] if hasattr(part, "_fields") else [float(len(part))]
        return length + [number for entry in part for number in _flat(entry)]
    assert isinstance(part, int | float)
    return [float(part)]


def not_programmed(profile: Profile) -> tuple[str, ...]:
    """Names of the settings of ``profile`` that the kernels do not program."""
    cell, spec, wires = profile.cell, profile.array, profile.wires
    drifts = any(effect.strength for effect in cell.drift)
    settings = {
        "array.mapping": spec.mapping == "offset-column",
        "array.pairs": spec.pairs is not None,
        "array.sensing": spec.sensing == "voltage",
        "array.slices": spec.slices > 1,
        "array.drift_probe": drifts and spec.drift_probe == "measured",
        "cell.levels": cell.levels is not None,
        "cell.write_verify": cell.write_verify is not None,
        "cell.endurance": cell.endurance is not None and cell.endurance.strength > 0,
        "cell.iv": cell.iv is not None and cell.iv.strength > 0 and not _bends_alike(profile),
        "wires": wires is not None and wires.strength > 0,
    }
    families: dict[str, list[object | None]] = {
        "programming_noise": [
            pack_programming(e, cell) for e in cell.programming_noise if e.strength
        ],
        "variation": [None for e in cell.variation if e.strength],
        "drift": [pack_drift(e, profile) for e in cell.drift if e.strength],
        "temperature": [None for e in cell.temperature if e.strength],
        "faults": [None for e in cell.faults if e.strength],
        "read_noise": [pack_read(e, cell) for e in cell.read_noise if e.strength],
    }
    return (
        *(name for name, is_set in settings.items() if is_set),
        *(f"cell.{name}" for name, parts in families.items() if None in parts),
    )


def _bends_alike(profile: Profile) -> bool:
    """Whether all currents are the same function of the voltage, times the conductances that the
    kernels program."""
    paired = profile.array.mapping == "differential-pair"
    iv = profile.cell.iv
    return iv is not None and iv.alike and paired and profile.dac.coding != "duration"


def pack(profile: Profile) -> PackedPhysics | None:
    """The physics of ``profile``'s cells for the kernels; None if they do not cover it."""
    if not_programmed(profile):
        return None
    cell, mapping = profile.cell, profile.array.mapping
    programming = [(i, e) for i, e in enumerate(cell.programming_noise) if e.strength]
    drift = [(i, e) for i, e in enumerate(cell.drift) if e.strength]
    read = [(i, e) for i, e in enumerate(cell.read_noise) if e.strength]
    paired = mapping == "differential-pair"
    span_uS = cell.g_max_uS - cell.g_min_uS
    offset = 0.0 if paired else (cell.g_min_uS + cell.g_max_uS) / span_uS
    is_digital = mapping == "single-device"
    floor_uS, ceiling_uS = cell.bounds_uS
    packed_programming = [pack_programming(e, cell) for _, e in programming]
    packed_drift = [pack_drift(e, profile) for _, e in drift]
    packed_read = [pack_read(e, cell) for _, e in read]
    return PackedPhysics(
        offset=0.0 if is_digital else offset,
        paired=paired,
        g_min_uS=cell.g_min_uS,
        span_uS=span_uS,
        floor_uS=floor_uS,
        ceiling_uS=ceiling_uS,
        programming=tuple(p for p in packed_programming if p is not None),
        drift=tuple(p for p in packed_drift if p is not None),
        read=tuple(p for p in packed_read if p is not None),
        draws=(
            *(Drawn("programming", i, e.device_share) for i, e in programming),
            *(Drawn("drift", i, e.device_share) for i, e in drift),
        ),
        flicker=tuple((i, e.times if isinstance(e, FlickerReadNoise) else None) for i, e in read),
        digital_offset=offset if is_digital else 0.0,
    )


@singledispatch
def pack_curve(curve: object) -> PackedCurve:
    """A curve of the profile; one handler per kind."""
    raise NotImplementedError(f"the kernels have no curve {type(curve).__name__}")


@pack_curve.register
def _(curve: Polynomial) -> PackedCurve:
    return PackedCurve(0, curve.coefficients)


@pack_curve.register
def _(curve: ClippedLog) -> PackedCurve:
    return PackedCurve(1, (curve.slope, curve.intercept, curve.min, curve.max))


@pack_curve.register
def _(curve: CappedPower) -> PackedCurve:
    if curve.coefficient == 0 or curve.max == 0:
        return _constant(0.0)
    cap = math.log(curve.max / curve.coefficient)
    return PackedCurve(2, (curve.coefficient, curve.exponent, cap))


@pack_curve.register
def _(curve: LogPolynomial) -> PackedCurve:
    return PackedCurve(3, curve.coefficients)


@pack_curve.register
def _(curve: Saturating) -> PackedCurve:
    return PackedCurve(4, (curve.amplitude, -1 / curve.scale))


@pack_curve.register
def _(curve: Table) -> PackedCurve:
    points = list(zip(curve.r, curve.values, strict=True))
    slopes = [(v1 - v0) / (r1 - r0) for (r0, v0), (r1, v1) in pairwise(points)] + [0.0]
    each = zip(points, slopes, strict=True)
    return PackedCurve(5, tuple(number for (r, v), slope in each for number in (r, v, slope)))


@pack_curve.register
def _(curve: Piecewise) -> PackedCurve:
    below, above = pack_curve(curve.below), pack_curve(curve.above)
    return PackedCurve(6, (curve.at, *_flat(below), *_flat(above)))


def _constant(value: float) -> PackedCurve:
    return PackedCurve(0, (value,))


def _magnitude(cell: CellSpec) -> PackedCurve:
    """``f(g) = |g|``."""
    return PackedCurve(7, ()) if cell.signed else PackedCurve(0, (0.0, 1.0))


@singledispatch
def pack_programming(effect: object, cell: CellSpec) -> PackedProgramming | None:
    """A programming noise; None for a kind that the kernels do not cover."""
    return None


@pack_programming.register
def _(effect: StateDependentProgrammingNoise, cell: CellSpec) -> PackedProgramming:
    return PackedProgramming(
        per_uS=1 / effect.g_ref_uS,
        sigma=effect.strength * effect.spread_strength,
        bias=effect.strength,
        sigma_curve=pack_curve(effect.sigma_uS),
        bias_curve=_constant(0.0) if effect.bias_uS is None else pack_curve(effect.bias_uS),
    )


@pack_programming.register
def _(effect: RelativeProgrammingNoise, cell: CellSpec) -> PackedProgramming:
    sigma = effect.strength * effect.sigma_of_g
    return PackedProgramming(1.0, sigma, 0.0, _magnitude(cell), _constant(0.0))


@pack_programming.register
def _(effect: GaussianProgrammingNoise, cell: CellSpec) -> PackedProgramming:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
    return PackedProgramming(0.0, 1.0, 0.0, _constant(sigma_uS), _constant(0.0))


@singledispatch
def pack_drift(effect: object, profile: Profile) -> PackedDrift | None:
    """A drift, its times in s at the temperature of storage; None for a kind that the kernels do
    not cover."""
    return None


@pack_drift.register
def _(effect: PowerLawDrift, profile: Profile) -> PackedDrift:
    steepness = effect.steepness(profile.temperature_C)
    return PackedDrift(
        power_law=True,
        per_uS=1 / effect.g_ref_uS,
        mean=effect.strength * steepness,
        spread=effect.strength * effect.spread_strength * steepness,
        times_s=(effect.t0_s / _speedup(effect, profile),),
        mean_curves=(pack_curve(effect.nu_mean),),
        spread_curves=(pack_curve(effect.nu_std),),
    )


@pack_drift.register
def _(effect: TabulatedDrift, profile: Profile) -> PackedDrift | None:
    if effect.temperatures_C:
        return None
    speedup = _speedup(effect, profile)
    shifts = tuple(map(pack_curve, effect.shift_uS))
    return PackedDrift(
        power_law=False,
        per_uS=1 / effect.g_ref_uS,
        mean=effect.strength,
        spread=effect.strength * effect.spread_strength,
        times_s=tuple(time_s / speedup for time_s in effect.times_s),
        mean_curves=shifts or (_constant(0.0),) * len(effect.times_s),
        spread_curves=tuple(map(pack_curve, effect.sigma_uS)),
    )


def _speedup(effect: AgingEffect, profile: Profile) -> float:
    """How much faster the cells age than at the temperature of the effect's numbers."""
    return effect.reference_age_s(1.0, profile.temperature_C)


@singledispatch
def pack_read(effect: object, cell: CellSpec) -> PackedRead | None:
    """A read noise; None for a kind that the kernels do not cover."""
    return None


@pack_read.register
def _(effect: OneOverFReadNoise, cell: CellSpec) -> PackedRead:
    return PackedRead(
        of_target=True,
        times_g=True,
        per_uS=1 / effect.g_ref_uS,
        size=effect.strength,
        before_s=effect.t0_s,
        session_s=effect.t_session_s,
        read_s=effect.t_read_ns * 1e-9,
        curve=pack_curve(effect.q),
    )


@pack_read.register
def _(effect: AbsoluteOneOverFReadNoise, cell: CellSpec) -> PackedRead:
    return PackedRead(
        of_target=False,
        times_g=False,
        per_uS=1 / effect.g_ref_uS,
        size=effect.strength,
        before_s=0.0,
        session_s=effect.t_session_s,
        read_s=effect.t_read_ns * 1e-9,
        curve=pack_curve(effect.amplitude_uS),
    )


@pack_read.register
def _(effect: StateDependentReadNoise, cell: CellSpec) -> PackedRead:
    return _white(1 / effect.g_ref_uS, effect.strength, pack_curve(effect.sigma_uS))


@pack_read.register
def _(effect: RelativeReadNoise, cell: CellSpec) -> PackedRead:
    return _white(1.0, effect.strength * effect.sigma_of_g, _magnitude(cell))


@pack_read.register
def _(effect: GaussianReadNoise, cell: CellSpec) -> PackedRead:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
    return _white(0.0, 1.0, _constant(sigma_uS))


def _white(per_uS: float, size: float, curve: PackedCurve) -> PackedRead:
    return PackedRead(False, False, per_uS, size, 0.0, 0.0, 0.0, curve)
