"""Endurance: degradation of cells by write cycles."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.effect import Effect
from cimsim.profile.fields import ASCENDING, NonNegative, Positive, ascends

Widening = Annotated[NonNegative, Field(le=1e3)]


class Endurance(Effect):
    """Cells after many write cycles: a larger spread and a smaller window.

        sigma(N) = sigma * (1 + strength * (spread_factor(N) - 1)),    for all programming noise
        g_target(N) = min(max(g_target, low(N)), high(N))
        low(N) = g_min + strength * (g_low(N) - g_min)
        high(N) = g_max - strength * (g_max - g_high(N))

    ``N`` is ``cycles``. A target outside the remaining window is written to its nearest edge; both
    edges are between g_min and g_max. All tables are interpolated linearly in ln(1 + N), starting
    from a fresh cell at N = 0 (a factor of 1, g_min, g_max), and are constant beyond their end.
    Failed cells are part of ``cell.faults``. Units: g in uS; cycles and factor are dimensionless.
    Source: textbook model; the tables come from the device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "wear"

    kind: Literal["tabulated"] = "tabulated"
    cycles: NonNegative = Field(description="number of earlier write cycles of the cells")
    cycles_of_table: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="write cycles at the points of the tables, ascending"
    )
    spread_factor: tuple[Widening, ...] = Field(
        description="programming spread relative to fresh cells, one value per point"
    )
    g_low_uS: tuple[NonNegative, ...] = Field(
        default=(), description="lowest writable conductance, one value per point; empty: unchanged"
    )
    g_high_uS: tuple[NonNegative, ...] = Field(
        default=(),
        description="highest writable conductance, one value per point; empty: unchanged",
    )

    @field_validator("cycles_of_table")
    @classmethod
    def _ascending(cls, cycles: tuple[float, ...]) -> tuple[float, ...]:
        if not ascends(cycles):
            raise ValueError(f"the numbers of cycles must be {ASCENDING}")
        return cycles

    @field_validator("spread_factor", "g_low_uS", "g_high_uS")
    @classmethod
    def _one_for_each_number(
        cls, values: tuple[float, ...], info: ValidationInfo
    ) -> tuple[float, ...]:
        cycles = info.data.get("cycles_of_table")
        optional = info.field_name != "spread_factor" and not values
        if cycles is not None and len(values) != len(cycles) and not optional:
            raise ValueError(
                f"must have one value for each of the {len(cycles)} numbers in 'cycles_of_table', "
                f"not {len(values)}"
            )
        low = info.data.get("g_low_uS") if info.field_name == "g_high_uS" else None
        if low and values and any(a >= b for a, b in zip(low, values, strict=True)):
            raise ValueError("must be above 'g_low_uS', otherwise the window is empty")
        return values

    def widening(self) -> float:
        """Return the factor on the programming spread."""
        return 1.0 + self.strength * (self._now(1.0, self.spread_factor) - 1.0)

    def window_uS(self, g_min_uS: float, g_max_uS: float) -> tuple[float, float]:
        """Return the lowest and the highest writable target in uS.

        ``g_min_uS`` and ``g_max_uS`` are the limits of a fresh cell.
        """
        low = g_min_uS + self.strength * (self._now(g_min_uS, self.g_low_uS) - g_min_uS)
        high = g_max_uS - self.strength * (g_max_uS - self._now(g_max_uS, self.g_high_uS))
        low, high = (min(max(edge, g_min_uS), g_max_uS) for edge in (low, high))
        return min(low, high), high

    def _now(self, fresh: float, values: tuple[float, ...]) -> float:
        """Interpolate the table ``values`` at ``cycles``; ``fresh`` is the value at 0 cycles."""
        if not values:
            return fresh
        points = [(0.0, fresh), *zip(map(math.log1p, self.cycles_of_table), values, strict=True)]
        at = math.log1p(self.cycles)
        for (x0, y0), (x1, y1) in pairwise(points):
            if at <= x1:
                return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
        return points[-1][1]
