"""Which values are too far from the others to be of the same distribution.

A value is set apart if it is further from the others than chance would put one of all values of a
file, in one file of a hundred: the distance is measured in the spread of the others and compared
with Student's t for their number. What is within that distance is never cut, so that spreads are
not narrowed. Where the middle of the distribution has heavier tails than a normal one, the distance
grows with them.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri, stdtrit

from cimsim.fitting.types import Mask, Numbers

# Chance that a file without a bad cell has a cell (or a read) set apart.
FALSE_ALARMS = 0.01
# More than this share of a group is a part of the distribution, not an accident.
FEW = 0.05
# A normal distribution's median absolute deviation.
MAD = float(ndtri(0.75))
START = 3.0
_FEWEST = 10
# Tails are judged by two quantiles of the absolute deviations within so many standard deviations.
_GROSS = 6.0
_INNER, _OUTER = 0.5, 0.9
_RATIO = float(ndtri(0.95) / ndtri(0.75))
# Standard deviation of the ratio's logarithm, times the root of the number of values.
_RATIO_ERROR = 1.21
_CERTAIN = 3.0


def step_of(values: Numbers) -> float:
    """The smallest difference that a read-out showed; 0 if it showed one value only."""
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0


def apart(values: Numbers, chance: float, step: float, tails: float = math.inf) -> Mask:
    """Which values are too far from the others.

    The values within three robust standard deviations of the median make a first set; all values
    are then compared with that set's mean and standard deviation until the set stays the same.

    Args:
        values: one for each cell.
        chance: probability that one normal value is set apart.
        step: resolution of the read-out; spreads below half of it are not resolved.
        tails: degrees of freedom of Student's t that has tails like those of the values.
    """
    middle = float(np.median(values))
    deviation = np.abs(values - middle)
    scale = max(float(np.median(deviation)) / MAD, step / 2)
    if math.isfinite(tails):
        return deviation > scale * heavy_limit(chance, tails)
    inside = deviation <= START * scale
    for _ in range(len(values)):
        number = int(inside.sum())
        if number < 2:
            break
        mean = float(values[inside].mean())
        spread = max(float(values[inside].std(ddof=1)), step / 2)
        limit = -stdtrit(number - 1, chance / 2) * spread * math.sqrt(1 + 1 / number)
        now = np.abs(values - mean) <= limit
        if (now == inside).all():
            break
        inside = now
    return ~inside


def heavy_limit(chance: float, tails: float) -> float:
    """The distance at which a value is apart, in robust standard deviations, for heavy tails."""
    return float(-stdtrit(tails, chance / 2) / stdtrit(tails, 0.75) * MAD)


def tails_of(deviations: Numbers) -> float:
    """Degrees of freedom of Student's t whose absolute quantiles (50 and 90 %) lie as these do;
    infinite where a normal distribution would do. What is far outside is not looked at."""
    if len(deviations) < _FEWEST:
        return math.inf
    sizes = np.abs(deviations)
    sizes = sizes[sizes <= _GROSS * np.median(sizes) / MAD]
    inner, outer = np.quantile(sizes, (_INNER, _OUTER))
    if inner <= 0:
        return math.inf
    excess = math.log(outer / inner / _RATIO)
    if excess < _CERTAIN * _RATIO_ERROR / math.sqrt(len(deviations)):
        return math.inf
    freedoms = np.geomspace(0.5, 60, 200)
    ratios = stdtrit(freedoms, (1 + _OUTER) / 2) / stdtrit(freedoms, (1 + _INNER) / 2)
    return float(freedoms[np.argmin(np.abs(np.log(ratios) - math.log(outer / inner)))])
