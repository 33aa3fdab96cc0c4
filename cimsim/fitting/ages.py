"""Grouping of times to ages: successive reads, and cells that are read one after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cimsim.fitting.issues import enumerated
from cimsim.fitting.reading import Tolerance
from cimsim.fitting.types import Indices, Numbers
from cimsim.units import format_duration

# Two ages that differ by a quarter are 0.1 decades apart, in which drift is small.
_RELATIVE = 0.25
# A series of times without a gap that spans more than this factor is not one age.
_WIDEST = 2.0
_IN_A_ROW = 0.01
_MARGIN = 1.5


class Ages(NamedTuple):
    """Age of each read, and assumptions."""

    time_s: Numbers
    notes: list[str]


def ages(
    time_s: Numbers, cell: Indices | None, tolerance: Tolerance | None, resolution_s: float
) -> Ages:
    """Group times and replace them by the median of their group.

    Args:
        time_s: time of each read since programming.
        cell: index of the cell of each read, or None.
        tolerance: largest difference within a group. The default is less than 25 % between
            successive times; at 0 s, less than the duration of later series of reads.
        resolution_s: resolution of the times.

    >>> ages(np.array([1.0, 1.1, 60.0]), None, None, 0.0).time_s.tolist()
    [1.05, 1.05, 60.0]
    """
    times, counts = np.unique(time_s, return_counts=True)
    if tolerance is not None:
        group = _from_first(times, tolerance)
    else:
        in_a_row = _longest_row(time_s, cell)
        group = _by_gaps(times, Tolerance(_RELATIVE, max(resolution_s, _MARGIN * in_a_row)))
    joined = np.bincount(group) > 1
    if not joined.any():
        return Ages(time_s, [])
    of_read = group[np.searchsorted(times, time_s)]
    age = np.array([float(np.median(np.repeat(times[group == g], counts[group == g])))
                    if joined[g] else float(times[group == g][0])
                    for g in range(len(joined))])  # fmt: skip
    spans = [
        f"{format_duration(float(times[group == g][0]))} to "
        f"{format_duration(float(times[group == g][-1]))} as {format_duration(float(age[g]))}"
        for g in np.flatnonzero(joined)
    ]
    how = "" if tolerance is not None else " (--time-tolerance sets the largest difference)"
    return Ages(age[of_read], [f"Similar times became one age{how}: {enumerated(spans)}."])


def _from_first(times: Numbers, tolerance: Tolerance) -> Indices:
    """Return the group of each ascending time: within the tolerance from the first of the group."""
    group = np.zeros(len(times), dtype=np.int64)
    first = times[0]
    for index, time in enumerate(times[1:], start=1):
        beyond = time > first * (1 + tolerance.relative) + tolerance.absolute_s
        group[index] = group[index - 1] + beyond
        first = time if beyond else first
    return group


def _by_gaps(times: Numbers, tolerance: Tolerance) -> Indices:
    """Return the group of each ascending time: a gap larger than the tolerance starts a new group.

    Groups that span too much are split into single times.
    """
    gaps = np.diff(times) > tolerance.relative * times[:-1] + tolerance.absolute_s
    group = np.concatenate(([0], np.cumsum(gaps)))
    apart = np.zeros(len(times), dtype=np.int64)
    following = 0
    for members in np.split(np.arange(len(times)), np.flatnonzero(gaps) + 1):
        first, last = times[members[0]], times[members[-1]]
        one = last <= _WIDEST * first + tolerance.absolute_s
        apart[members] = following + (0 if one else np.arange(len(members)))
        following = int(apart[members[-1]]) + 1
    return apart if len(group) else group


def _longest_row(time_s: Numbers, cell: Indices | None) -> float:
    """Return the longest duration of successive reads of a cell that are short versus their age."""
    if cell is None:
        return 0.0
    order = np.lexsort((time_s, cell))
    time, name = time_s[order], cell[order]
    same = (name[1:] == name[:-1]) & (time[:-1] > 0)
    close = same & (time[1:] - time[:-1] <= _IN_A_ROW * time[:-1])
    # Series are runs of close reads; their duration is from the first to the last read.
    starts = np.flatnonzero(close & ~np.concatenate(([False], close[:-1])))
    ends = np.flatnonzero(close & ~np.concatenate((close[1:], [False]))) + 1
    return float((time[ends] - time[starts]).max()) if len(starts) else 0.0
