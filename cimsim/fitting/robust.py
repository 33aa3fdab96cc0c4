"""Robust detection of outliers.

A value is an outlier if its distance from the others would occur by chance in only one file of a
hundred: the distance is measured in units of the spread of the others and compared with Student's t
for their number. Values within that distance are always kept, so that spreads are not biased. If
the center of the distribution has heavier tails than a normal distribution, the limit increases.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri, stdtrit

from cimsim.fitting.types import Mask, Numbers

# Probability of an outlying cell (or read) in a file without bad cells.
FALSE_ALARMS = 0.01
# A larger fraction of a group is part of the distribution.
FEW = 0.05
# Median absolute deviation of a normal distribution.
MAD = float(ndtri(0.75))
START = 3.0
_FEWEST = 10
# Tails are judged by two quantiles of the absolute deviations within this many standard deviations.
_GROSS = 6.0
_INNER, _OUTER = 0.5, 0.9
_RATIO = float(ndtri(0.95) / ndtri(0.75))
# Standard deviation of the ratio's logarithm, times the root of the number of values.
_RATIO_ERROR = 1.21
_CERTAIN = 3.0


def step_of(values: Numbers) -> float:
    """Return the smallest difference between values of a readout; 0 if all are equal."""
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0


def apart(values: Numbers, chance: float, step: float, tails: float = math.inf) -> Mask:
    """Return a mask of outliers.

    The first set contains the values within three robust standard deviations of the median; all
    values are compared with the set's mean and standard deviation until the set converges.

    Args:
        values: one value for each cell.
        chance: probability that a normal value is an outlier.
        step: resolution of the readout; spreads below half of it are not resolved.
        tails: degrees of freedom of Student's t distribution with tails like those of the values.
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
    """Return the limit for outliers in robust standard deviations, for heavy tails."""
    return float(-stdtrit(tails, chance / 2) / stdtrit(tails, 0.75) * MAD)


def tails_of(deviations: Numbers) -> float:
    """Return the degrees of freedom of Student's t that fits the tails of ``deviations``.

    The fit uses the ratio of absolute quantiles (50 and 90 %) without gross outliers. The result is
    infinite if a normal distribution is sufficient.
    """
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
