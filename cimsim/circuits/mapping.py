"""Weights on conductances: the differential pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DifferentialPair:
    """One weight on two cells whose currents are subtracted.

    ``r = w / scale`` in [-1, 1] becomes ``G+ = g_min + max(r, 0) (g_max - g_min)`` and
    ``G- = g_min + max(-r, 0) (g_max - g_min)``; reading back is ``(G+ - G-) / (g_max - g_min)``.
    The cell that carries nothing rests at ``g_min`` and is programmed like any other.
    """

    g_min_uS: float
    g_max_uS: float

    @property
    def span_uS(self) -> float:
        """``g_max - g_min`` in µS."""
        return self.g_max_uS - self.g_min_uS

    def conductances(self, r: Tensor) -> Tensor:
        """Target conductances in µS; ``r [...]`` gives ``[2, ...]`` (positive cell first)."""
        # max(r, 0) = (|r| + r) / 2, so written because its slope at 0 is 1/2: the slopes of the two
        # cells then add up to 1 at a weight of exactly zero, as they do everywhere else.
        size = r.abs()
        return torch.stack((size + r, size - r)) * (self.span_uS / 2) + self.g_min_uS

    def weights(self, g_uS: Tensor) -> Tensor:
        """Relative weights of ``g_uS [2, ...]``; shape ``[...]``."""
        return (g_uS[0] - g_uS[1]) / self.span_uS

    def variances(self, variance_uS2: Tensor) -> Tensor:
        """Variance of the relative weight from the cells' variances ``[2, ...]`` in µS²."""
        return (variance_uS2[0] + variance_uS2[1]) / self.span_uS**2


_SMALLEST_SCALE = 1e-30  # far below any weight, and its reciprocal far from overflow


def column_scale(w: Tensor) -> Tensor:
    """The weight that full conductance stands for: ``max |w|`` of each column, at least 1e-30.

    ``w [..., columns, rows]`` gives ``[..., columns, 1]``. The floor keeps a column of zeros, and
    its gradient, finite; whatever its cells do counts for nothing.
    """
    return w.abs().amax(dim=-1, keepdim=True).clamp_min(_SMALLEST_SCALE)
