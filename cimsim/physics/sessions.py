"""Split of read noise by time scale into slow parts and parts sampled for every read.

A session is one pass of a network over its input, at one age of the chip. Slower noise is constant
during the pass; see :class:`cimsim.profile.FlickerReadNoise`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from cimsim.profile import FlickerTimes
from cimsim.seeds import seed_for


class Part(NamedTuple):
    """A summand ``size * N(0, 1)`` per cell, sampled with ``seed``."""

    seed: int
    size: float


def flicker_variance(times: FlickerTimes, age_s: float) -> float:
    """Return ``L(T) = max(0, ln((T + t_read) / (2 t_read)))`` in units of the squared amplitude."""
    return _accumulated(times, age_s + times.before_s)


def fast_variance(times: FlickerTimes, age_s: float) -> float:
    """Return the part of :func:`flicker_variance` that is sampled for every read."""
    return _accumulated(times, min(age_s + times.before_s, times.session_s))


@lru_cache(maxsize=1024)
def _slow_variance(times: FlickerTimes, age_s: float) -> float:
    return flicker_variance(times, age_s) - fast_variance(times, age_s)


def _accumulated(times: FlickerTimes, time_s: float) -> float:
    return max(0.0, math.log((time_s + times.read_s) / (2 * times.read_s)))


def slow_parts(
    times: FlickerTimes, index: int, age_s: float, seed: int, single_use: bool
) -> tuple[Part, ...]:
    """Return the summands of the noise that is constant during the session at ``age_s``.

    This is a stateless Gaussian process in time. Every decade of time constants between
    ``t_session`` and the age is a band, whose value rotates within one time constant from one
    normal number to the next: ``cos(a) x_n + sin(a) x_(n+1)`` with ``a`` from 0 to a right angle,
    whose variance is always 1. The squared sizes add up to ``L(T) - L(t_session)`` exactly. A
    ``single_use`` chip is used in a single session and needs one number for all bands.

    Args:
        times: durations of the noise.
        index: position of the noise in the cell's list.
        age_s: seconds since programming.
        seed: seed of the chip.
        single_use: whether the chip is discarded after this session.
    """
    slow = _slow_variance(times, age_s)
    if slow <= 0.0:
        return ()
    if single_use:
        return (Part(seed_for(seed, "slow", index), math.sqrt(slow)),)
    parts: list[Part] = []
    time_s, below = age_s + times.before_s, fast_variance(times, age_s)
    for decade in range(1, math.ceil(math.log10(time_s / times.session_s)) + 1):
        constant_s = times.session_s * 10.0**decade
        up_to = _accumulated(times, min(time_s, constant_s))
        n, share = divmod(time_s / constant_s, 1.0)
        size, turned = math.sqrt(up_to - below), share * math.pi / 2
        for number, weight in ((int(n), math.cos(turned)), (int(n) + 1, math.sin(turned))):
            parts.append(Part(seed_for(seed, "slow", index, decade, number), size * weight))
        below = up_to
    return tuple(parts)
