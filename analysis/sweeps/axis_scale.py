"""Positions of the levels of an axis in a figure, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cimsim.analysis.sweeps.axis import Axis, Level
from cimsim.units import parse_duration

_TIMES = ("1s", "10s", "1min", "10min", "1h", "1d", "30d", "1y", "10y", "100y")
_MOST_NAMED = 10
_CLEARANCE = 0.09


@dataclass(frozen=True)
class Scale:
    """The horizontal scale of a plot.

    Attributes:
        positions: level to x.
        ticks: x and text of each named tick; empty leaves the choice to matplotlib.
        log: whether x is logarithmic.
        joined: whether neighboring levels may be joined by a line; False for words.
    """

    positions: dict[Level, float]
    ticks: tuple[tuple[float, str], ...]
    log: bool
    joined: bool


def scale_of(axis: Axis, levels: Iterable[Level]) -> Scale:
    """Return a scale for all ``levels``: time is logarithmic, words are evenly spaced."""
    different = list(dict.fromkeys(levels))
    if any(isinstance(level, str) for level in different):
        places = {level: float(place) for place, level in enumerate(different)}
        return Scale(places, _named(axis, places), log=False, joined=False)
    numbers = sorted(float(level) for level in different if isinstance(level, int | float))
    joined = len(different) > 1
    if axis.key == "time":
        places = _places_of_times(numbers)
        return Scale(places, _named_times(axis, places), log=True, joined=joined)
    places = {number: number for number in numbers}
    if None in different:
        # "ideal" has no number; it is placed one usual step beyond the largest.
        places[None] = numbers[-1] + _usual_step(numbers) if numbers else 0.0
    log = None not in different and _spans_decades(numbers)
    by_itself = joined and axis.unit != "bits" and None not in different
    named = () if by_itself else _named(axis, places)
    return Scale(places, named, log=log, joined=joined)


def _places_of_times(times: Sequence[float]) -> dict[Level, float]:
    positive = [time for time in times if time > 0]
    places: dict[Level, float] = {time: time for time in positive}
    if positive and len(positive) < len(times):
        # A logarithmic axis has no zero; it is placed a little to the left of the first time.
        places[0.0] = positive[0] / max(10.0, (positive[-1] / positive[0]) ** 0.15)
    elif not positive:
        places[0.0] = 1.0
    return places


def _named_times(axis: Axis, places: dict[Level, float]) -> tuple[tuple[float, str], ...]:
    if len(places) <= _MOST_NAMED:
        return _named(axis, places, log=True)
    ends = sorted(places.values())
    usual = [parse_duration(time) for time in _TIMES]
    usual_places: dict[Level, float] = {time: time for time in usual if ends[0] <= time <= ends[-1]}
    if 0.0 in places:
        usual_places[0.0] = places[0.0]
    return _named(axis, usual_places if len(usual_places) > 2 else places, log=True)


def _named(
    axis: Axis, places: dict[Level, float], log: bool = False
) -> tuple[tuple[float, str], ...]:
    """Ticks at the ends and at as many levels between them as fit."""
    order = sorted(places, key=lambda level: places[level])
    heights = [math.log(places[level]) if log else places[level] for level in order]
    room = _CLEARANCE * (heights[-1] - heights[0])
    chosen = {0, len(order) - 1}
    for i in range(1, len(order) - 1):
        if all(abs(heights[i] - heights[k]) >= room for k in chosen):
            chosen.add(i)
    return tuple((places[order[i]], axis.format(order[i])) for i in sorted(chosen))


def _usual_step(numbers: Sequence[float]) -> float:
    steps = sorted(right - left for left, right in pairwise(numbers))
    return steps[len(steps) // 2] if steps else 1.0


def _spans_decades(numbers: Sequence[float]) -> bool:
    return len(numbers) > 2 and numbers[0] > 0 and numbers[-1] / numbers[0] >= 100
