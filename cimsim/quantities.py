"""Engineering notation: numbers with three digits and a unit with an SI prefix."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Powers of 1000 and the prefixes that people read without a table.
_PREFIXES = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
_DIGITS = 3
_LEAST = 1e-3
MISSING = "-"


@dataclass(frozen=True)
class Scale:
    """A unit that several numbers are written in, such as those of a column.

    Attributes:
        unit: the unit with its prefix, such as ``µJ``; empty for a number without unit.
        size: the unit in base units, such as 1e-6.
    """

    unit: str
    size: float

    def number(self, value: float | None) -> str:
        """``value``, given in base units, with three digits and without the unit.

        A number that is too small for this unit is ``<0.001``, and one that does not exist (None
        or NaN) is ``-``.

        >>> Scale("µJ", 1e-6).number(3.957e-6), Scale("µJ", 1e-6).number(1e-12)
        ('3.96', '<0.001')
        """
        return MISSING if value is None else plain_number(value / self.size)

    def text(self, value: float | None) -> str:
        """``value``, given in base units, with three digits and the unit.

        >>> Scale("µJ", 1e-6).text(3.957e-6)
        '3.96 µJ'
        """
        number = self.number(value)
        return number if number == MISSING else f"{number} {self.unit}".rstrip()

    def heading(self, name: str) -> str:
        """Heading of a column or label of an axis.

        >>> Scale("µJ", 1e-6).heading("energy")
        'energy (µJ)'
        """
        return f"{name} ({self.unit})" if self.unit else name


def scale_of(values: Iterable[float | None], unit: str) -> Scale:
    """The scale in which the largest of ``values`` is written with one to three digits before the
    point; an area, whose prefixes are a million apart, with 0.01 to 9,999.

    Args:
        values: numbers in base units; None and numbers that are not finite do not count.
        unit: the base unit: J, s, m², OPS, OPS/W, S, A, ...; a prefix of m² counts twice.

    >>> scale_of([2.5e-7, 1.6e-4], "J")
    Scale(unit='µJ', size=1e-06)
    >>> [scale_of([area], "m²").text(area) for area in (3.2e-6, 2.7626e-8, 2.2e-9)]
    ['3.2 mm²', '0.0276 mm²', '2,200 µm²']
    """
    power = 2 if "²" in unit.partition("/")[0] else 1
    finite = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(finite, default=0.0)
    step = 0
    if largest > 0:
        # Rounding to three digits comes first: 999.7 nJ is 1 µJ.
        exponent = math.floor(math.log10(float(f"{largest:.{_DIGITS}g}")))
        exponent += 2 * (power - 1)
        step = min(max(exponent // (3 * power), min(_PREFIXES)), max(_PREFIXES))
    return Scale(f"{_PREFIXES[step]}{unit}", float(f"1e{3 * power * step}"))


def quantity(value: float | None, unit: str) -> str:
    """``value``, given in base units, in the unit that suits it.

    >>> quantity(1.6e-4, "J"), quantity(5.32e12, "OPS/W"), quantity(0.0, "J")
    ('160 µJ', '5.32 TOPS/W', '0 J')
    """
    return scale_of([value], unit).text(value)


def plain_number(value: float) -> str:
    """``value`` with three digits and never with an exponent.

    >>> [plain_number(x) for x in (1234567, 159.96, 3.957, 0.012, 1e-9, 0, float("nan"))]
    ['1,234,567', '160', '3.96', '0.012', '<0.001', '0', '-']
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return f"{value}"
    size = abs(value)
    if 0 < size < _LEAST:
        return f"<{_LEAST:g}" if value > 0 else f">-{_LEAST:g}"
    if size >= 10 ** (_DIGITS - 1):
        return f"{value:,.0f}"
    return f"{value:.{_DIGITS}g}"
