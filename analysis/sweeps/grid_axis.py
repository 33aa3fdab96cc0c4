"""Two axes at once: every level of one at every level of the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.analysis.sweeps.axis import Axis, Level
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.adaptation.recipe import Recipe
    from cimsim.profile import Profile


@dataclass(frozen=True)
class GridAxis(Axis):
    """The pairs of levels of ``x`` and ``y``, each level the pair as JSON: ``[0.5, 8]``."""

    x: Axis
    y: Axis

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile at both levels; noise is a factor on what the other axis has set."""
        pairs = zip((self.x, self.y), pair(level), strict=True)
        for axis, own in sorted(pairs, key=lambda each: each[0].key == "noise"):
            profile = axis.apply(profile, own)
        return profile

    def age_s(self, level: Level) -> float | None:
        """The age, if one of the axes is time."""
        x, y = pair(level)
        age_s = self.x.age_s(x)
        return self.y.age_s(y) if age_s is None else age_s

    def cycle(self, level: Level) -> int:
        """The write cycle, if one of the axes is that."""
        x, y = pair(level)
        return self.x.cycle(x) or self.y.cycle(y)

    def adaptation(self, level: Level) -> Recipe | None:
        """The adaptation of the axis that has one."""
        x, y = pair(level)
        return self.x.adaptation(x) or self.y.adaptation(y)

    def named(self, level: Level) -> str:
        """Both quantities and levels: ``noise=0.5, adc.bits=8``."""
        x, y = pair(level)
        return f"{self.x.named(x)}, {self.y.named(y)}"


def grid(x: Axis, y: Axis, key: str) -> GridAxis:
    """Return every level of ``x`` at every level of ``y``, as the axis ``key``.

    Raises:
        CimsimError: if both are the same quantity.
    """
    if x.key == y.key:
        raise CimsimError(f"both axes are {x.key}; a map needs two different ones")
    values = tuple(at(left, right) for right in y.values for left in x.values)
    return GridAxis(key, values, x, y)


def at(x: Level, y: Level) -> str:
    """The level of a grid at these levels of its axes."""
    return json.dumps([x, y])


def pair(level: Level) -> tuple[Level, Level]:
    """Inverse of :func:`at`."""
    x, y = json.loads(str(level))
    return x, y
