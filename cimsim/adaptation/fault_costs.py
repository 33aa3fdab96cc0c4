"""The error that known faults cause, for each weight on each faulty cell.

The cells of a weight can hold relative weights from ``low`` to ``high``: -1 to 1 if they work, and
less if one of them is stuck. A weight ``r`` outside of this interval is held as the nearest one:

    e = max(r - high, 0) + max(low - r, 0)

The error of an output is ``sum p (scale e)^2`` over its faulty cells, where ``p`` is the mean
square of the input and ``scale`` the weight of full conductance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


class ByPlace:
    """Tensors by their place on the array, ``[columns, rows, ...]``."""

    def turned(self) -> Self:
        """With rows first."""
        return type(self)(*(t.transpose(0, 1) for t in self._tensors))

    def lines(self, block: slice) -> Self:
        """Only the columns (or rows, if they are first) of ``block``."""
        return type(self)(*(t[block] for t in self._tensors))

    @property
    def _tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Intervals(ByPlace):
    """What the cells of each weight can hold, by their place on the array ``[columns, rows, ...]``.

    Attributes:
        low, high: ends of the intervals.
        offset: relative weight of a pair whose healthy cell is not used: that of its stuck cell;
            zero for others.
        faulty: where a cell does not work.
    """

    low: Tensor
    high: Tensor
    offset: Tensor
    faulty: Tensor

    @classmethod
    def of(cls, held: Tensor, factor: float) -> Intervals:
        """
        Args:
            held: relative conductances of faulty cells, NaN for others, see
                :func:`cimsim.array.known_faults`.
            factor: by which drift compensation multiplies what stuck cells contribute.
        """
        known = ~held.isnan()
        stuck = torch.where(known, held * factor, 0.0)
        if len(held) == 1:
            low, high = (torch.where(known[0], stuck[0], end) for end in (-1.0, 1.0))
            return cls(low, high, torch.zeros_like(low), known[0])
        fixed = stuck[0] - stuck[1]
        low = fixed - (~known[1]).to(fixed)  # the second cell subtracts up to 1
        high = fixed + (~known[0]).to(fixed)
        one = known[0] != known[1]
        return cls(low, high, torch.where(one, fixed, 0.0), known.any(0))

    def held(self, relative: Tensor) -> Tensor:
        """The nearest weights to ``relative`` that the cells can hold."""
        return torch.where(self.faulty, relative.clamp(self.low, self.high), relative)

    def shift(self, relative: Tensor) -> Tensor:
        """What to write in addition to ``relative``, so that the healthy cell of a pair makes up
        for a stuck one.

        The largest weight of a column stays, so that the scale stays; its cells hold the same.
        """
        change = self.held(relative) - self.offset - relative
        movable = self.faulty & (self.offset != 0) & (relative.abs() < 1)
        return torch.where(movable, change, 0.0)


@dataclass(frozen=True)
class Weights(ByPlace):
    """Weights in the order of the array, ``[columns, rows, ...]``.

    Attributes:
        relative: divided by the weight of full conductance.
        importance: mean square of the input, times the square of the weight of full conductance.
    """

    relative: Tensor
    importance: Tensor

    def error(self, cells: Intervals) -> float:
        """The error of all outputs."""
        lost = cells.held(self.relative) - self.relative
        return float((lost.square() * self.importance).sum())


def costs(weights: Weights, cells: Intervals, signs: bool) -> tuple[Tensor, Tensor]:
    """The error of each line of weights (second index) at each place (first); lines are columns, or
    rows of what is :meth:`~ByPlace.turned`.

    Returns:
        Errors, and the better signs where ``signs`` may change, both ``[places, lines]``.
    """
    lines, places = len(weights.relative), len(cells.low)
    flat, weight = weights.relative.reshape(lines, -1), weights.importance.reshape(lines, -1)
    low, high, faulty = (t.reshape(places, -1) for t in (cells.low, cells.high, cells.faulty))
    errors = flat.new_zeros(places, lines, dtype=torch.float64)
    chosen = torch.ones(places, lines, dtype=torch.int8, device=flat.device)
    for place in range(places):
        at = faulty[place].nonzero().squeeze(1)
        r, p = flat[:, at], weight[:, at]
        error = _error(r, low[place, at], high[place, at], p)
        if signs:
            turned = _error(-r, low[place, at], high[place, at], p)
            chosen[place] = torch.where(turned < error, -1, 1)
            error = torch.minimum(error, turned)
        errors[place] = error.double()
    return errors, chosen


def _error(r: Tensor, low: Tensor, high: Tensor, importance: Tensor) -> Tensor:
    lost = (r - high).clamp_min(0) + (low - r).clamp_min(0)
    return (lost.square() * importance).sum(1)
