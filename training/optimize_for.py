"""The conditions that a search optimizes a network for: noise levels and ages."""

from __future__ import annotations

import math
from collections.abc import Callable

from cimsim.errors import CimsimError
from cimsim.units import parse_duration

_LEVELS = 5  # of a range of noise levels without a step
_AGES = 3  # of a range of ages
_MOST = 100
_EXAMPLES = "1, 0:2, 0:4:1, 1@1y or 0:2@1s:1y"


def conditions(text: str, age: str = "0s") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the noise levels and the ages in seconds of ``LEVELS`` or ``LEVELS@AGES``.

    Levels are a list, ``FROM:TO:STEP``, or ``FROM:TO`` for five evenly spaced ones. Ages are a
    list, or ``FROM:TO`` for both and the one between them in ``log(1 + t)``. Without ages, they
    are ``age``.

    Raises:
        CimsimError: if the text is something else.

    >>> conditions("0:2")
    ((0.0, 0.5, 1.0, 1.5, 2.0), (0.0,))
    >>> conditions("1,2@1h")
    ((1.0, 2.0), (3600.0,))
    """
    levels, at, ages = text.partition("@")
    try:
        noises = _list(levels, _noise, _levels)
        ages_s = _list(ages if at else age, parse_duration, _between)
    except ValueError as error:
        raise CimsimError(
            f"'{text}' is not a list of conditions to optimize for: {error}; write noise levels, "
            f"and ages after @, such as {_EXAMPLES}"
        ) from None
    return noises, ages_s


def _list(
    text: str, number: Callable[[str], float], spread: Callable[[list[float]], list[float]]
) -> tuple[float, ...]:
    """The numbers of a list or a range, without repetitions."""
    values: list[float] = []
    for piece in text.split(","):
        try:
            ends = [number(end) for end in piece.split(":")]
        except CimsimError as error:
            raise ValueError(error) from None
        values += ends if len(ends) == 1 else spread(ends)
    return tuple(dict.fromkeys(values))


def _noise(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not 0 <= level < math.inf:
        raise ValueError(f"'{text.strip()}' is not a noise level of 0 or more")
    return level


def _levels(ends: list[float]) -> list[float]:
    low, high = _range(ends[:2])
    if len(ends) > 3:
        raise ValueError("a range is FROM:TO or FROM:TO:STEP")
    step = ends[2] if len(ends) == 3 else (high - low) / (_LEVELS - 1)
    if not step or (high - low) / step > _MOST:
        raise ValueError(f"a range has more than {_MOST} levels")
    count = math.floor((high - low) / step * (1 + 1e-9)) + 1
    return [round(low + i * step, 10) for i in range(count)]


def _between(ends: list[float]) -> list[float]:
    if len(ends) > 2:
        raise ValueError("a range of ages is FROM:TO")
    low, high = map(math.log1p, _range(ends))
    inner = [math.expm1(low + i * (high - low) / (_AGES - 1)) for i in range(1, _AGES - 1)]
    return [ends[0], *inner, ends[1]]


def _range(ends: list[float]) -> tuple[float, float]:
    low, high = ends
    if low >= high:
        raise ValueError("the first end of a range must be the lower one")
    return low, high
