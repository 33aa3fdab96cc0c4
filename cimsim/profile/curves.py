"""Closed formulas and tables for published quantities.

Each is a function of a relative conductance ``r = g / g_ref``; the section that contains it defines
``g_ref`` and the unit of the value.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.base import Curve
from cimsim.profile.fields import ASCENDING, NonNegative, Number, Positive, ascends

Numbers = Annotated[tuple[Number, ...], Field(min_length=1)]


class ClippedLog(Curve):
    """A line over the logarithm of a relative conductance, clipped between two bounds.

        f(r) = min(max(slope * ln r + intercept, min), max)

    Units: as the described quantity; r = g / g_ref is dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["clipped-log"] = "clipped-log"
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

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return self.max

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        sign = "-" if self.intercept < 0 else "+"
        line = f"{self.slope:g} ln r {sign} {abs(self.intercept):g}"
        return f"{line}, between {self.min:g} and {self.max:g}"


class CappedPower(Curve):
    """A power of a relative conductance with an upper bound.

        f(r) = min(coefficient * r^exponent, max)

    Units: as the described quantity; r = g / g_ref is dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["capped-power"] = "capped-power"
    coefficient: NonNegative = Field(description="value at r = 1 before capping")
    exponent: Number = Field(description="power of r")
    max: NonNegative = Field(description="upper bound")

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return self.max

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        return f"{self.coefficient:g} r^{self.exponent:g}, at most {self.max:g}"


class Polynomial(Curve):
    """A polynomial of a relative conductance.

        f(r) = sum_k c_k r^k

    Units: as the described quantity; r = g / g_ref is dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["polynomial"] = "polynomial"
    coefficients: Numbers = Field(description="c_0, c_1, ...")

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return sum(abs(c) * r**power for power, c in enumerate(self.coefficients))

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        return _terms(self.coefficients, "r")


class LogPolynomial(Curve):
    """A polynomial of the decimal logarithm of a relative conductance.

        f(r) = sum_k c_k (log10 r)^k

    Units: as the described quantity; r = g / g_ref is dimensionless, at least 1e-7.
    Source: given by the section that uses it.
    """

    kind: Literal["log-polynomial"] = "log-polynomial"
    coefficients: Numbers = Field(description="c_0, c_1, ...")

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        decades = max(7.0, math.log10(max(r, 1.0)))  # r is floored at 1e-7
        return sum(abs(c) * decades**power for power, c in enumerate(self.coefficients))

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        return _terms(self.coefficients, "log10(r)")


class Saturating(Curve):
    """A rise that saturates exponentially.

        f(r) = amplitude * (1 - exp(-r / scale))

    Units: amplitude as the described quantity; r = g / g_ref and scale are dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["saturating"] = "saturating"
    amplitude: NonNegative = Field(description="value far above the scale")
    scale: Positive = Field(
        description="relative conductance at which the curve reaches 63 % of the amplitude"
    )

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return self.amplitude

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        return f"{self.amplitude:g} (1 - exp(-r / {self.scale:g}))"


class Table(Curve):
    """Measured points with linear interpolation, constant outside.

        f(r) = values, linear between neighboring points of r

    Units: as the described quantity; r = g / g_ref is dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["table"] = "table"
    r: Numbers = Field(description="relative conductances, ascending")
    values: Numbers = Field(description="one value for each r")

    @field_validator("r")
    @classmethod
    def _ascending(cls, r: tuple[float, ...]) -> tuple[float, ...]:
        if not ascends(r):
            raise ValueError(f"the points must be {ASCENDING}")
        return r

    @field_validator("values")
    @classmethod
    def _one_for_each_r(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        r = info.data.get("r")
        if r is not None and len(values) != len(r):
            raise ValueError(f"must have one value for each of the {len(r)} points in 'r'")
        return values

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return max(map(abs, self.values))

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        points = [f"{value:g} at {r:g}" for r, value in zip(self.r, self.values, strict=True)]
        if len(points) > 6:
            points = [*points[:3], f"... {len(points) - 4} more", points[-1]]
        return ", ".join(points)


Simple = Annotated[
    ClippedLog | CappedPower | Polynomial | LogPolynomial | Saturating | Table,
    Field(discriminator="kind"),
]


class Piecewise(Curve):
    """Two formulas, below and above a threshold.

        f(r) = below(r) for r < at, above(r) otherwise

    Units: as the described quantity; r = g / g_ref is dimensionless.
    Source: given by the section that uses it.
    """

    kind: Literal["piecewise"] = "piecewise"
    at: Positive = Field(description="relative conductance from which the second formula applies")
    below: Simple = Field(description="formula for r < at")
    above: Simple = Field(description="formula for r >= at")

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``."""
        return max(self.below.largest(r), self.above.largest(r))

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        return (
            f"{self.below.formula()} for r < {self.at:g}; "
            f"{self.above.formula()} for r >= {self.at:g}"
        )


AnyCurve = Annotated[
    ClippedLog | CappedPower | Polynomial | LogPolynomial | Saturating | Table | Piecewise,
    Field(discriminator="kind"),
]


def _terms(coefficients: tuple[float, ...], r: str) -> str:
    line = ""
    for power, c in enumerate(coefficients):
        symbol = "" if power == 0 else f" {r}" if power == 1 else f" {r}^{power}"
        sign = ("- " if c < 0 else "+ ") if line else ("-" if c < 0 else "")
        line += f"{' ' if line else ''}{sign}{abs(c):g}{symbol}"
    return line
