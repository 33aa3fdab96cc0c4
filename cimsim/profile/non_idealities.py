"""Names of a profile's non-idealities, and profiles with some of them disabled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cimsim.errors import CimsimError
from cimsim.profile.base import Section
from cimsim.profile.converters import ADC, DAC, UniformCodes
from cimsim.profile.effect import Effect, map_effects
from cimsim.profile.model import Profile
from cimsim.suggest import unknown

# A converter whose range another effect needs gets this resolution instead of null.
FINEST_BITS = 16


def non_idealities(profile: Profile) -> tuple[str, ...]:
    """Return the names of all non-idealities of ``profile``, in the order of a file.

    An effect is named by its path and kind (``cell.drift.power-law``), or by its index if a kind
    occurs twice. ``cell.levels``, ``dac.bits``, ``adc.bits`` and ``adc.noise_of_range`` are
    included if they are set. Effects of strength 0 are omitted; 16 bits count as ideal.

    >>> from cimsim.profile import load_profile
    >>> non_idealities(load_profile("ideal"))
    ()
    """
    return tuple(name for name, _ in _switches(profile))


def without(profile: Profile, names: Iterable[str]) -> Profile:
    """Return a copy of ``profile`` with the non-idealities ``names`` disabled.

    Converters become ideal, or get 16 bits if a remaining effect needs their range. Bits that are
    part of a remaining effect are kept: those of an ADC's architecture, and of the durations for
    which gated cells are on.

    Raises:
        CimsimError: if a name is not one of :func:`non_idealities`.
    """
    switches = dict(_switches(profile))
    names = set(names)
    for name in names:
        if name not in switches:
            raise CimsimError(unknown("non-ideality", name, switches))
    # Converters last: whether they become ideal depends on the effects that remain.
    for name in sorted(names, key=lambda name: name.endswith(".bits")):
        profile = switches[name](profile)
    return Profile.model_validate(profile.model_dump())


def only(profile: Profile, names: Iterable[str]) -> Profile:
    """Return a copy of ``profile`` with all non-idealities except ``names`` disabled.

    Raises:
        CimsimError: if a name is not one of :func:`non_idealities`.
    """
    known, names = non_idealities(profile), set(names)
    for name in names:
        if name not in known:
            raise CimsimError(unknown("non-ideality", name, known))
    return without(profile, [name for name in known if name not in names])


_Switch = Callable[[Profile], Profile]


def _switches(profile: Profile) -> Iterator[tuple[str, _Switch]]:
    for name, effect in effects(profile):
        if effect.strength:
            yield name, _switch_off(effect)
    if profile.cell.levels is not None and profile.array.slices == 1:
        yield "cell.levels", lambda p: _with(p, "cell", levels=None)
    if profile.dac.bits not in (None, FINEST_BITS):
        yield "dac.bits", _ideal_dac
    if profile.adc.bits not in (None, FINEST_BITS):
        yield "adc.bits", _ideal_adc
    if profile.adc.noise_of_range:
        yield "adc.noise_of_range", lambda p: _with(p, "adc", noise_of_range=0.0)


def effects(profile: Profile) -> Iterator[tuple[str, Effect]]:
    """Yield name and effect for every effect of ``profile``, in the order of a file."""
    for part in Profile.model_fields:
        section = getattr(profile, part)
        if isinstance(section, Effect):
            yield part, section
        elif isinstance(section, Section):
            for field in type(section).model_fields:
                yield from _effects_of(f"{part}.{field}", getattr(section, field))


def _effects_of(path: str, value: Any) -> Iterator[tuple[str, Effect]]:
    if isinstance(value, Effect):
        yield path, value
    elif isinstance(value, tuple) and value and isinstance(value[0], Effect):
        kinds = [effect.kind for effect in value]
        for index, effect in enumerate(value):
            key = effect.kind if kinds.count(effect.kind) == 1 else str(index)
            yield f"{path}.{key}", effect


def _switch_off(effect: Effect) -> _Switch:
    def switch(profile: Profile) -> Profile:
        return map_effects(profile, lambda other: other.off() if other is effect else other)

    return switch


def _with(profile: Profile, part: str, **update: Any) -> Profile:
    section = getattr(profile, part).model_copy(update=update)
    return profile.model_copy(update={part: section})


def _ideal_dac(profile: Profile) -> Profile:
    dac: DAC = profile.dac
    iv, wires = profile.cell.iv, profile.wires
    gated = wires is not None and wires.cells == "gated" and wires.strength > 0
    needed = gated or (iv is not None and iv.strength > 0) or any(e.strength for e in dac.errors)
    if gated and dac.coding == "duration":
        return profile  # every duration needs a separate solution of the wires
    if needed:
        return _with(profile, "dac", bits=FINEST_BITS)
    ideal = DAC(bits=None, range=dac.range, source=dac.source)
    return profile.model_copy(update={"dac": ideal})


def _ideal_adc(profile: Profile) -> Profile:
    adc: ADC = profile.adc
    tables = [e.kind for e in adc.errors if e.kind in ("sar", "ramp", "pipeline") and e.strength]
    if tables:
        return profile  # the errors of the architecture are defined per bit
    if adc.noise_of_range or any(error.strength for error in adc.errors):
        return _with(profile, "adc", bits=FINEST_BITS, codes=UniformCodes())
    return _with(profile, "adc", bits=None, codes=UniformCodes(), errors=())
