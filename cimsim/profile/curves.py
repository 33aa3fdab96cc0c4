"""The closed formulas that published fits are written in."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.fields import NonNegative, Number
from cimsim.profile.section import Curve


class ClippedLog(Curve):
    """A line over the logarithm of a relative conductance, held between two bounds.

        f(r) = min(max(slope * ln r + intercept, min), max)

    Units: those of the quantity it describes; r = g / g_ref has none.
    Source: that of the section that uses it.
    """

    slope: Number = Field(description="change per natural logarithm of r")
    intercept: Number = Field(description="value at r = 1 before clipping")
    min: NonNegative = Field(description="lower bound")
    max: NonNegative = Field(description="upper bound")

    @field_validator("max")
    @classmethod
    def _above_min(cls, high: float, info: ValidationInfo) -> float:
        if high < info.data.get("min", high):
            raise ValueError("max must not be smaller than min")
        return high

    def formula(self) -> str:
        """The formula with its numbers, on one line."""
        sign = "-" if self.intercept < 0 else "+"
        line = f"{self.slope:g} ln r {sign} {abs(self.intercept):g}"
        return f"{line}, between {self.min:g} and {self.max:g}"


class CappedPower(Curve):
    """A power of a relative conductance, held below a bound.

        f(r) = min(coefficient * r^exponent, max)

    Units: those of the quantity it describes; r = g / g_ref has none.
    Source: that of the section that uses it.
    """

    coefficient: NonNegative = Field(description="value at r = 1 before capping")
    exponent: Number = Field(description="power of r")
    max: NonNegative = Field(description="upper bound")

    def formula(self) -> str:
        """The formula with its numbers, on one line."""
        return f"{self.coefficient:g} r^{self.exponent:g}, at most {self.max:g}"
