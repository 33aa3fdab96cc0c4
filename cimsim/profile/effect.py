"""Base classes of all non-idealities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from cimsim.profile.base import Section, Sourced
from cimsim.profile.fields import Knob

_Section = TypeVar("_Section", bound=Section)
_Effect = TypeVar("_Effect", bound="Effect")
_Spread = TypeVar("_Spread", bound="SpreadEffect")


class Effect(Sourced):
    """One non-ideality: a named equation (``kind``), its numbers, and a factor on its size.

    ``strength`` multiplies the effect; at 0 it is exactly absent.

    A class declares what its effect depends on, so that nothing else needs to list kinds:

    Attributes:
        title: the effect in words, for tables and figures.
        random: whether it is noise, which differs from chip to chip or read to read, or the same on
            every chip.
        depends_on_age: whether it changes with the time since programming.
        allows_signed_cells: whether its equation also holds for conductances below 0.
    """

    title: ClassVar[str]
    random: ClassVar[bool] = True
    depends_on_age: ClassVar[bool] = False
    allows_signed_cells: ClassVar[bool] = False

    kind: str
    strength: Knob = Field(default=1.0, description="factor on this effect; 0 disables it")

    @property
    def uses_temperature(self) -> bool:
        """True if the operating temperature has an effect."""
        return False

    def scale_noise(self: _Effect, factor: float) -> _Effect:
        """Return a copy of this effect with its random part multiplied by ``factor``."""
        if not self.random:
            return self
        return self.model_copy(update={"strength": self.strength * factor})

    def off(self: _Effect) -> _Effect:
        """Return a copy of this effect with strength 0."""
        return self.model_copy(update={"strength": 0.0})


class SpreadEffect(Effect):
    """A change with a deterministic mean and a random spread."""

    spread_strength: Knob = Field(default=1.0, description="factor on the spread only")

    def scale_noise(self: _Spread, factor: float) -> _Spread:
        """Return a copy with the cell-to-cell spread scaled; the mean is unchanged."""
        return self.model_copy(update={"spread_strength": self.spread_strength * factor})


def effects_in(section: Section) -> Iterator[Effect]:
    """Every effect in ``section``, at any depth."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Effect):
                yield part
            elif isinstance(part, Section):
                yield from effects_in(part)


def map_effects(section: _Section, change: Callable[[Effect], Effect]) -> _Section:
    """Return a copy of ``section`` with ``change`` applied to every effect at any depth."""
    update: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Effect):
            update[name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Effect):
            update[name] = tuple(map(change, value))
        elif isinstance(value, Section):
            update[name] = map_effects(value, change)
    return section.model_copy(update=update)
