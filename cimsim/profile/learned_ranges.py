"""Converters whose full scales are parameters of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cimsim.errors import CimsimError
from cimsim.profile.converters import FixedRange, LearnedRange
from cimsim.profile.model import Profile
from cimsim.profile.overrides import override_profile

CONVERTERS = ("dac", "adc")


def learned_ranges(profile: Profile) -> tuple[str, ...]:
    """Return the names of the converters of ``profile`` with a learned range."""
    return tuple(
        name for name in CONVERTERS if isinstance(getattr(profile, name).range, LearnedRange)
    )


def with_learned_ranges(profile: Profile, converters: Sequence[str]) -> Profile:
    """Return ``profile`` with learned ranges of ``converters``; ideal converters and ranges that
    the chip fixes stay."""
    kinds = [
        f"{name}.range.kind=learned"
        for name in converters
        if getattr(profile, name).bits is not None
        and not isinstance(getattr(profile, name).range, FixedRange | LearnedRange)
    ]
    return override_profile(profile, kinds) if kinds else profile


def require_learnable(profiles: Iterable[Profile], converters: Sequence[str]) -> None:
    """Refuse ``converters`` whose range the chips of all ``profiles`` fix.

    Raises:
        CimsimError: if there is one.
    """
    every = list(profiles)
    for name in converters:
        if all(_is_fixed(profile, name) for profile in every):
            names = ", ".join(dict.fromkeys(profile.name for profile in every))
            raise CimsimError(
                f"learn_ranges: the range of the {name.upper()} cannot be learned, because it is "
                f"fixed in the profile {names}; leave {name} out, or set another {name}.range"
            )


def _is_fixed(profile: Profile, converter: str) -> bool:
    its = getattr(profile, converter)
    return its.bits is not None and isinstance(its.range, FixedRange)
