"""Types of the values in a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

# Chips are simulated in float32 (largest value 3e38) and noise is squared: values beyond any
# physical quantity (or, for divisors, below) would overflow to infinity or NaN.
LARGEST = 1e12
_SMALLEST_DIVISOR = 1e-12
_LARGEST_KNOB = 1e6
_LARGEST_COUNT = 2**24
_SMALLEST_STEP = 1e-9  # of a table, whose slopes would overflow
ASCENDING = f"in ascending order, at least {_SMALLEST_STEP:g} apart"
"""What :func:`ascends` requires, for errors."""
_LONGEST_TEXT = 20_000


def _not_too_large(value: float) -> float:
    if abs(value) > LARGEST:
        raise PydanticCustomError(
            "number_range",
            "must be between {low} and {high}, the largest quantities of a device (got {value})",
            {"low": f"{-LARGEST:g}", "high": f"{LARGEST:g}", "value": f"{value:g}"},
        )
    return value


def _neither_too_large_nor_small(value: float) -> float:
    # In one function because pydantic 2.9 keeps only the last of two validators of a field.
    _not_too_large(value)
    if 0 < value < _SMALLEST_DIVISOR:
        raise PydanticCustomError(
            "number_range",
            "must be {low} or more, the smallest nonzero quantity of a device (got {value})",
            {"low": f"{_SMALLEST_DIVISOR:g}", "value": f"{value:g}"},
        )
    return value


# Strict: a quoted "0.1", true or 8.0 bits is a mistake in the file and is not converted.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_not_too_large)]
NonNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0), AfterValidator(_neither_too_large_nor_small)]
Count = Annotated[int, Field(strict=True, ge=1, le=_LARGEST_COUNT)]
Index = Annotated[int, Field(strict=True, ge=0, le=_LARGEST_COUNT)]
Celsius = Annotated[Number, Field(gt=-273.15)]
Percentile = Annotated[Number, Field(gt=1, le=100)]  # up to 1, it is meant as a fraction
Fraction = Annotated[NonNegative, Field(le=1)]
Bits = Annotated[int, Field(strict=True, ge=2, le=16)]
AdcBits = Annotated[int, Field(strict=True, ge=1, le=16)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=_LONGEST_TEXT)]
Paragraph = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, max_length=_LONGEST_TEXT)
]


def ascends(values: Sequence[float]) -> bool:
    """Whether each value is above the one before by 1e-9 at least, so that a table has slopes."""
    return all(later - earlier >= _SMALLEST_STEP for earlier, later in pairwise(values))


class KnobMark:
    """Marks a dimensionless factor that the user sets; it needs no source."""


Knob = Annotated[NonNegative, Field(le=_LARGEST_KNOB), KnobMark()]


def _one_sentence_or_one_per_number(value: Any) -> Any:
    texts = list(value.values()) if isinstance(value, Mapping) else [value]
    if value is not None and not all(isinstance(text, str) and text.strip() for text in texts):
        raise PydanticCustomError(
            "source", "must be one sentence, or a mapping from each number to its sentence"
        )
    return value


def _whole_number(value: Any) -> Any:
    if type(value) is not int:  # Literal[1] would accept true and 1.0
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


SchemaVersion = Annotated[Literal[1], BeforeValidator(_whole_number)]
Source = Annotated[str | dict[str, str] | None, BeforeValidator(_one_sentence_or_one_per_number)]
