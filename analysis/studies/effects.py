"""Variants of a profile that have only some of its non-idealities, for error budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cimsim
from cimsim.analysis.sweeps.axis import Level, VariantsAxis
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

BUDGET = "budget"
"""Key of the axis, whose trials all kinds of budgets share."""
DEFAULTS = {"age": "1d"}
"""Defaults of the command's shared options, for all kinds of budgets."""
EVERYTHING, NOTHING = "everything", "nothing"
ONLY, WITHOUT, _AND = "only ", "without ", " + "
PHYSICAL_ORDER = (
    "cell.levels",
    "cell.endurance",
    "cell.programming_noise",
    "cell.variation",
    "cell.drift",
    "cell.temperature",
    "cell.faults",
    "wires",
    "dac.errors",
    "dac.bits",
    "cell.iv",
    "cell.read_noise",
    "adc.errors",
    "adc.noise_of_range",
    "adc.bits",
)
"""Order in which non-idealities act: on the cells, as listed by :class:`cimsim.profile.CellSpec`,
then on the signal."""


@dataclass(frozen=True)
class EffectsAxis(VariantsAxis):
    """Variants of a profile by name: ``everything``, ``nothing``, ``only X``, ``only X + Y``,
    ``without X``."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The variant of that name.

        If the layers of a model have several profiles, one may lack a non-ideality of another: it
        keeps nothing under ``only`` that one, and loses nothing under ``without`` it.
        """
        name = str(level)
        if name == EVERYTHING:
            return profile
        if name == NOTHING:
            return cimsim.profile.only(profile, [])
        named = name.removeprefix(ONLY).removeprefix(WITHOUT).split(_AND)
        known = [effect for effect in cimsim.profile.non_idealities(profile) if effect in named]
        return (
            cimsim.profile.only(profile, known)
            if name.startswith(ONLY)
            else cimsim.profile.without(profile, known)
        )


class NamedEffect:
    """A part of a result that is about the non-ideality ``name``."""

    name: str

    @property
    def title(self) -> str:
        """The non-ideality in words."""
        return cimsim.profile.effect_title(self.name)

    @property
    def title_and_name(self) -> str:
        """The same with its name in the profile, for a text of several lines."""
        title = self.title
        return title if title == self.name else f"{title}\n{self.name}"


def effects_axis(variants: Iterable[str]) -> EffectsAxis:
    """The axis of these variants, each once."""
    return EffectsAxis(BUDGET, tuple(dict.fromkeys(variants)))


def effects_of(assignment: Assignment) -> list[str]:
    """The non-idealities of the profiles of all layers.

    Raises:
        CimsimError: if there is none.
    """
    names = dict.fromkeys(
        name for profile in assignment.profiles for name in cimsim.profile.non_idealities(profile)
    )
    if not names:
        raise CimsimError(f"{assignment.name} has no non-idealities, so there is nothing to budget")
    return list(names)


def physical_order(names: Iterable[str]) -> list[str]:
    """Sort non-idealities by :data:`PHYSICAL_ORDER`."""

    def place(name: str) -> int:
        return next(i for i, part in enumerate(PHYSICAL_ORDER) if f"{name}.".startswith(f"{part}."))

    return sorted(names, key=place)


def variant_with(names: Sequence[str], chosen: Iterable[str]) -> str:
    """The name in :class:`EffectsAxis` of the variant that has only ``chosen`` of all
    non-idealities ``names``; a variant has one name, so that it is evaluated once.

    >>> variant_with(["a", "b", "c"], ["c", "a"]), variant_with(["a", "b", "c", "d"], ["b", "a"])
    ('without b', 'only a + b')
    """
    chosen = set(chosen)
    kept = [name for name in names if name in chosen]
    if len(kept) == len(names):
        return EVERYTHING
    if not kept:
        return NOTHING
    if len(kept) == len(names) - 1 and len(kept) > 1:
        return WITHOUT + next(name for name in names if name not in chosen)
    return ONLY + _AND.join(kept)
