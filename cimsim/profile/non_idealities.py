"""Every non-ideality of a profile by name, to be switched off one by one or all but some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cimsim.errors import CimsimError
from cimsim.profile.base import Section
from cimsim.profile.converters import ADC, DAC, UniformCodes
from cimsim.profile.effect import Effect, map_effects
from cimsim.profile.model import Profile
from cimsim.suggest import unknown

# A converter that something needs the range of is never null, but as fine as the format allows.
FINEST_BITS = 16


def non_idealities(profile: Profile) -> tuple[str, ...]:
    """Names of everything that is not ideal in ``profile``, in the order of a file.

    An effect is named by its path and kind (``cell.drift.power-law``), or by its index where a kind
    occurs twice; beside the effects stand ``cell.levels``, ``dac.bits``, ``adc.bits`` and
    ``adc.noise_of_range`` where they are set. What has strength zero is not named, and 16 bits pass
    for ideal.

    >>> from cimsim.profile import load_profile
    >>> non_idealities(load_profile("ideal"))
    ()
    """
    return tuple(name for name, _ in _switches(profile))


def without(profile: Profile, names: Iterable[str]) -> Profile:
    """The same device with the non-idealities ``names`` switched off.

    Converters are switched off by making them ideal; where a remaining effect needs a range, they
    get 16 bits instead. Bits that are part of a remaining effect stay: those of an ADC's
    architecture, and of the durations for which gated cells are on.

    Raises:
        CimsimError: if a name is not among :func:`non_idealities`.
    """
    switches = dict(_switches(profile))
    names = set(names)
    for name in names:
        if name not in switches:
            raise CimsimError(unknown("non-ideality", name, switches))
    # The finest converters are the last resort, so the rest is switched off first.
    for name in sorted(names, key=lambda name: name.endswith(".bits")):
        profile = switches[name](profile)
    return Profile.model_validate(profile.model_dump())


def only(profile: Profile, names: Iterable[str]) -> Profile:
    """The same device with all non-idealities but ``names`` switched off.

    Raises:
        CimsimError: if a name is not among :func:`non_idealities`.
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
    """Every effect of ``profile`` with its name, in the order of a file."""
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
        return profile  # each duration is a network of its own to be solved
    if needed:
        return _with(profile, "dac", bits=FINEST_BITS)
    ideal = DAC(bits=None, range=dac.range, source=dac.source)
    return profile.model_copy(update={"dac": ideal})


def _ideal_adc(profile: Profile) -> Profile:
    adc: ADC = profile.adc
    tables = [e.kind for e in adc.errors if e.kind in ("sar", "ramp", "pipeline") and e.strength]
    if tables:
        return profile  # the architecture's errors are steps of its own bits
    if adc.noise_of_range or any(error.strength for error in adc.errors):
        return _with(profile, "adc", bits=FINEST_BITS, codes=UniformCodes())
    return _with(profile, "adc", bits=None, codes=UniformCodes(), errors=())
