"""Converters whose full scales are parameters of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cimsim.errors import CimsimError
from cimsim.profile.converters import FixedRange, LearnedRange
from cimsim.profile.model import Profile
from cimsim.profile.overrides import overridden_keys, override_profile

CONVERTERS = ("dac", "adc")
_LEARNED = "{}.range.kind=learned"
"""Override of a converter whose range is learned."""


def learned_ranges(profile: Profile) -> tuple[str, ...]:
    """Return the names of the converters of ``profile`` with a learned range."""
    return tuple(
        name for name in CONVERTERS if isinstance(getattr(profile, name).range, LearnedRange)
    )


def override_in_words(override: str) -> str:
    """Return an override as part of a sentence: a learned range in words, others unchanged.

    >>> override_in_words("dac.range.kind=learned"), override_in_words("adc.bits=6")
    ('learned DAC range', 'adc.bits=6')
    """
    words = {_LEARNED.format(name): f"learned {name.upper()} range" for name in CONVERTERS}
    return words.get(override, override)


def with_learned_ranges(profile: Profile, converters: Sequence[str]) -> Profile:
    """Return ``profile`` with learned ranges of ``converters``, to train with; ideal converters and
    ranges that the chip fixes stay."""
    return _learning(profile, [name for name in converters if _obstacle(profile, name) is None])


def with_ranges_of_network(profile: Profile, converters: Sequence[str]) -> Profile:
    """Return ``profile`` for a network that has learned the ranges of ``converters``.

    As :func:`with_learned_ranges`, but the range of the inputs, which is a part of the network,
    stays learned in front of an ideal DAC, too.
    """
    clipped = "dac" in converters and _obstacle(profile, "dac") == _IDEAL
    return _learning(with_learned_ranges(profile, converters), ["dac"] * clipped)


def _learning(profile: Profile, converters: Iterable[str]) -> Profile:
    kinds = [
        _LEARNED.format(name)
        for name in converters
        if not isinstance(getattr(profile, name).range, LearnedRange)
    ]
    return override_profile(profile, kinds) if kinds else profile


def require_learnable(profiles: Iterable[Profile], converters: Sequence[str]) -> None:
    """Refuse ``converters`` without a range to learn: they are ideal, or their range is fixed, in
    all ``profiles``.

    Raises:
        CimsimError: if there is one.
    """
    every = list(profiles)
    for name in converters:
        obstacles = [_obstacle(profile, name) for profile in every]
        if None not in obstacles:
            where = zip(obstacles, (profile.name for profile in every), strict=True)
            reasons = dict.fromkeys(f"{what} in the profile {profile}" for what, profile in where)
            remedies = dict.fromkeys(_REMEDIES[what].format(name) for what in obstacles if what)
            raise CimsimError(
                f"learn_ranges: the range of the {name.upper()} cannot be learned, because "
                f"{' and '.join(reasons)}; leave {name} out (none learns no range), or set "
                f"{' and '.join(remedies)}"
            )


def sets_range(overrides: Mapping[str, object] | Sequence[str], converter: str) -> bool:
    """Return whether ``overrides`` set the range of ``converter``, or a part of it."""
    section = f"{converter}.range."
    return any(f"{key}.".startswith(section) for key in overridden_keys(overrides))


def refuse_set_ranges(
    profile: Profile, overrides: Sequence[str], converters: Sequence[str]
) -> None:
    """Refuse ``converters`` whose range in ``profile`` is set by one of ``overrides``, because a
    learned range would replace it.

    Raises:
        CimsimError: if there is one.
    """
    learned = with_learned_ranges(profile, converters)
    for name in converters:
        own = [text for text in overrides if sets_range([text], name)]
        if own and getattr(learned, name) != getattr(profile, name):
            settings = " and ".join(own)
            raise CimsimError(
                f"learn_ranges: the range of the {name.upper()} cannot be both learned and set by "
                f"{settings}; leave {name} out (none learns no range), or leave out {settings}"
            )


_IDEAL, _FIXED = "the converter is ideal", "it is fixed"
_REMEDIES = {_IDEAL: "{}.bits", _FIXED: "another {}.range"}


def _obstacle(profile: Profile, converter: str) -> str | None:
    """Return why the range of ``converter`` cannot be learned; None if it can."""
    its = getattr(profile, converter)
    if its.bits is None:
        return _IDEAL
    return _FIXED if isinstance(its.range, FixedRange) else None
