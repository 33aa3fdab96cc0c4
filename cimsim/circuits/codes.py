"""Converters with uneven codes: comparators, tables, and tables fitted to data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.circuits.converters import EDGE
from cimsim.profile import ADC, FittedCodes, TableCodes

_MOST_ROUNDS = 300
_SETTLED = 1e-7  # of the range


class CodeTable(NamedTuple):
    """Ascending values of the codes and thresholds between them, as fractions of the range."""

    values: Tensor
    thresholds: Tensor

    @classmethod
    def nearest(cls, values: Tensor) -> CodeTable:
        """Return the table that rounds to the nearest of ``values``."""
        return cls(values, (values[1:] + values[:-1]) / 2)

    def coded(self, u: Tensor) -> Tensor:
        """Convert ``u`` elementwise; a value on a threshold gets the lower code, NaN stays NaN."""
        codes = torch.bucketize(u.contiguous(), self.thresholds)
        return torch.where(u.isnan(), u, self.values[codes])

    def inside(self, u: Tensor) -> Tensor:
        """Return a mask of the elements of ``u`` between the outermost values (not clipped)."""
        return (u >= self.values[0] - EDGE) & (u <= self.values[-1] + EDGE)


def is_fitted(adc: ADC) -> bool:
    """Return whether calibration determines the values of the codes."""
    return adc.bits is not None and isinstance(adc.codes, FittedCodes)


def fixed_table(adc: ADC, like: Tensor) -> CodeTable | None:
    """Return the profile's table of codes, with the dtype and device of ``like``.

    None if codes are evenly spaced or fitted.
    """
    if isinstance(adc.codes, TableCodes):
        values = like.new_tensor(adc.codes.values_of_range)
        if adc.codes.thresholds_of_range is None:
            return CodeTable.nearest(values)
        return CodeTable(values, like.new_tensor(adc.codes.thresholds_of_range))
    if adc.bits == 1 and not is_fitted(adc):
        return CodeTable.nearest(like.new_tensor([-1.0, 1.0]))
    return None


def lloyd_max(u: Tensor, bits: int) -> Tensor:
    """Return ``2^bits`` ascending code values that minimize the mean squared error of ``u``.

    The iteration starts at quantiles and replaces each value by the mean of the samples nearest to
    it until convergence. With fewer distinct samples than codes, some values are equal.
    Source: S. P. Lloyd, IEEE Trans. Inf. Theory 28, 129 (1982), method I.

    Args:
        u: samples over their range, in any shape, at least one.
        bits: resolution of the ADC.
    """
    samples = u.detach().double().flatten().sort().values
    count = len(samples)
    total = torch.cat((samples.new_zeros(1), samples.cumsum(0)))
    numbers = torch.arange(1 << bits, dtype=torch.float32, device=samples.device)
    places = (numbers + 0.5) * (count / (1 << bits))
    values = samples[places.long().clamp_max(count - 1)]
    for _ in range(_MOST_ROUNDS):
        inner = torch.searchsorted(samples, CodeTable.nearest(values).thresholds)
        edges = torch.cat((inner.new_zeros(1), inner, inner.new_full((1,), count)))
        sizes = edges.diff()
        means = total[edges].diff() / sizes.clamp_min(1)
        moved = torch.where(sizes > 0, means, values)
        moved = moved.cummax(0).values  # an empty interval keeps its value, which others may exceed
        settled = bool((moved - values).abs().max() < _SETTLED)
        values = moved
        if settled:
            break
    return values
