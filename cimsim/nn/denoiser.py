"""A digital gain and offset for each column, regressed from the array's output to the ideal one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.dtypes import keep_dtypes
from cimsim.errors import CimsimError
from cimsim.lasting import lasting
from cimsim.scalars import number_or_nan

_FEWEST = 16


class ColumnDenoiser(nn.Module):
    """Ridge regression of the ideal output on the array's, column by column, after the ADC.

        y~ = c (y - mean y) + mean t,   c = Cov(t, y) / (Var(y) + ridge Var(t)),   t = x W^T + b

    In training, the regression runs over the batch and is differentiated, also through the target,
    so that gradients depend on the noise of the column. In evaluation it is the affine map
    ``gain y + offset`` of the statistics of training (moving averages, or after
    :func:`cimsim.nn.denoise` those of all its vectors), which costs nothing on a chip with digital
    scales and biases. A batch with fewer than 16 values per column is corrected as in evaluation.

    Source: denoising dequantization (C. Ye et al., arXiv:2409.09245), applied to the readout; this
    is our adaptation. It is the linear estimate of least mean squared error.
    """

    statistics: Tensor
    seen: Tensor

    def __init__(self, columns: int, ridge: float = 0.01, momentum: float = 0.1) -> None:
        super().__init__()
        self.ridge = ridge
        self.momentum: float | None = momentum
        self._vectors = 0  # since the statistics were reset, if momentum is None
        # Means of y, t, y^2, y t, t^2: raw moments can be averaged over chips and batches.
        # In float64, because variances are small differences of these moments.
        moments = torch.zeros(5, columns, dtype=torch.float64, device="cpu")
        self.register_buffer("statistics", moments)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        precise = {"statistics": self.statistics.detach()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        keep_dtypes(self, precise)
        return self

    def materialize(self, device: torch.device) -> None:
        """Begin without statistics on ``device``, after those on the meta device."""
        with lasting():
            self.statistics = torch.zeros_like(self.statistics, device=device)
            self.seen = torch.zeros_like(self.seen, device=device)

    def reset_running_stats(self) -> None:
        """Reset all statistics; named as in batch normalization."""
        self._vectors = 0
        self.statistics.zero_()
        self.seen.zero_()

    def forward(self, y: Tensor, target: Tensor | None, dim: int) -> Tensor:
        """``y~`` in the shape of ``y``, whose columns are along ``dim``; ``target`` in training."""
        vectors = y.numel() // y.shape[dim]
        small = vectors < _FEWEST
        if target is None or (small and self.momentum is not None):
            gain, offset = self.affine()
        else:
            moments = self._moments(y, target, dim)
            self._remember(moments.detach(), vectors)
            gain, offset = self.affine() if small else self._affine(moments)
        return y * _along(gain, y, dim) + _along(offset, y, dim)

    def affine(self) -> tuple[Tensor, Tensor]:
        """``gain`` and ``offset``, one for each column; 1 and 0 without statistics."""
        gain, offset = self._affine(self.statistics)
        known = self.seen > 0
        return torch.where(known, gain, 1.0), torch.where(known, offset, 0.0)

    def _affine(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        y, t, yy, yt, tt = moments
        variance = (yy - y.square()).clamp_min(0) + self.ridge * (tt - t.square()).clamp_min(0)
        varies = variance > 1e-12 * yy  # a constant column is not corrected
        gain = torch.where(varies, (yt - y * t) / torch.where(varies, variance, 1.0), 1.0)
        return gain, torch.where(varies, t - gain * y, 0.0)

    @staticmethod
    def _moments(y: Tensor, t: Tensor, dim: int) -> Tensor:
        others = [d for d in range(y.dim()) if d != dim % y.dim()]
        y, t = y.double(), t.double()
        return torch.stack([m.mean(others) for m in (y, t, y.square(), y * t, t.square())])

    @torch.no_grad()
    def _remember(self, moments: Tensor, vectors: int) -> None:
        if self.momentum is None:
            self._vectors += vectors
            self.seen += self._vectors >= _FEWEST
            share: Tensor | float = vectors / self._vectors
        else:
            self.seen += 1
            first = torch.ones_like(self.statistics[0, 0])
            share = torch.where(self.seen == 1, first, self.momentum)
        self.statistics += share * (moments - self.statistics)


def _along(values: Tensor, y: Tensor, dim: int) -> Tensor:
    shape = [1] * y.dim()
    shape[dim] = -1
    return values.to(y.dtype).view(shape)


def make_denoiser(columns: int, ridge: float) -> ColumnDenoiser:
    """A denoiser of ``columns`` columns.

    Raises:
        CimsimError: if the ridge is negative or not finite.
    """
    return ColumnDenoiser(columns, checked_ridge(ridge))


def checked_ridge(ridge: float) -> float:
    """Return ``ridge`` as a Python number.

    Raises:
        CimsimError: if it is negative or not finite.
    """
    number = number_or_nan(ridge)
    if not (math.isfinite(number) and number >= 0):
        raise CimsimError(f"the ridge of a denoiser must be a number of 0 or more, not {ridge!r}")
    return number
