"""The one base of every non-ideality of a cell."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from cimsim.profile.fields import Knob
from cimsim.profile.section import Sourced

_Effect = TypeVar("_Effect", bound="Effect")


class Effect(Sourced):
    """One non-ideality: a named equation (``kind``), its numbers, and a knob on its size.

    ``strength`` multiplies the effect; at 0 it is exactly absent.
    """

    kind: str
    strength: Knob = Field(default=1.0, description="factor on this effect; 0 switches it off")

    def scale_noise(self: _Effect, factor: float) -> _Effect:
        """This effect with its random part ``factor`` times as large."""
        return self.model_copy(update={"strength": self.strength * factor})
