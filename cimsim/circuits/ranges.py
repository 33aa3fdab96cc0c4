"""Calibration of a converter's full scale on training data."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import TypeAlias

import torch
from torch import Tensor

from cimsim.profile import (
    FixedRange,
    LearnedRange,
    MinimumErrorRange,
    PeakRange,
    PercentileRange,
    Range,
    SigmaRange,
)
from cimsim.seeds import generator

_SAMPLES_PER_BATCH = 8192
_MOST_SAMPLES = 1 << 20  # of all groups
_FEWEST_SAMPLES = 1 << 12  # of each
_CANDIDATES = 96

Quantized: TypeAlias = "Callable[[Tensor], Tensor]"


class RangeObserver:
    """Collects a signal over calibration batches and computes a full scale for each group."""

    def __init__(self, groups: int = 1) -> None:
        self.groups = groups
        self._samples: list[Tensor] = []
        self._draws = generator("calibration")
        self._share = 1.0
        self._peaks = torch.zeros(groups, dtype=torch.float64, device="cpu")
        self._lowest = math.inf
        self._squares = torch.zeros_like(self._peaks)
        self._values = 0

    @property
    def seen(self) -> bool:
        """True if any value was observed."""
        return self._values > 0

    def observe(self, v: Tensor) -> None:
        """Add ``v [groups, ...]`` (any shape for one group) to the statistics, without its graph.

        Peak and mean square use all values; samples are a random subset, because evenly spaced
        samples could always hit the same pixel or feature.
        """
        flat = v.detach().reshape(self.groups, -1)
        count = flat.shape[1]
        if count == 0:
            return
        most = max(_FEWEST_SAMPLES, _MOST_SAMPLES // self.groups)
        kept_count = max(1, int(self._share * min(count, _SAMPLES_PER_BATCH, most)))
        if kept_count < count:
            picked = torch.randint(count, (kept_count,), generator=self._draws, device="cpu")
            self._samples.append(flat[:, picked.to(flat.device)].float().cpu())
        else:
            self._samples.append(flat.float().cpu().clone())
        if sum(samples.shape[1] for samples in self._samples) > most:
            everything = self.samples
            half = torch.randperm(everything.shape[1], generator=self._draws, device="cpu")
            self._samples = [everything[:, half[: most // 2]]]
            self._share /= 2
        norms = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
        self._squares += norms.square().cpu()
        self._values += count
        # torch.maximum propagates NaN.
        self._peaks = torch.maximum(self._peaks, flat.abs().amax(1).double().cpu())
        self._lowest = min(self._lowest, flat.min().item())

    @property
    def peaks(self) -> Tensor:
        """Largest magnitude of each group, ``[groups]``; 0 without values."""
        return self._peaks

    @property
    def lowest(self) -> float:
        """Lowest value of all groups; infinite without values."""
        return self._lowest

    @property
    def rms(self) -> Tensor:
        """Root mean square of each group, ``[groups]``; 0 without values."""
        return (self._squares / max(1, self._values)).sqrt()

    @property
    def samples(self) -> Tensor:
        """Random subset of the values, ``[groups, values]``."""
        return torch.cat(self._samples, dim=1)

    def full_scales(self, rule: Range, quantized: Quantized, noise_of_range: float = 0.0) -> Tensor:
        """Return the full scales according to ``rule``, ``[groups]``.

        ``quantized`` applies the converter to values over their range; ``noise_of_range`` is noise
        proportional to the range. A group of zeros gets range 1, unless the range is fixed.
        """
        if isinstance(rule, FixedRange):
            return torch.full_like(self._peaks, rule.full_scale).float()
        if not self.seen:
            return torch.ones_like(self._peaks).float()
        scales = _full_scales(rule, self, quantized, noise_of_range).float()
        return torch.where(self._peaks == 0.0, torch.ones_like(scales), scales)


def even_steps(levels: int) -> Quantized:
    """Return a function that rounds to ``levels`` even steps on each side of zero, and clips."""

    def quantized(u: Tensor) -> Tensor:
        return (u * levels).round_().clamp_(-levels, levels) / levels

    return quantized


@singledispatch
def _full_scales(
    rule: object, seen: RangeObserver, quantized: Quantized, noise_of_range: float
) -> Tensor:
    raise NotImplementedError(f"no way to set a range by {type(rule).__name__}")


@_full_scales.register(LearnedRange)
@_full_scales.register(MinimumErrorRange)
def _(
    rule: LearnedRange | MinimumErrorRange,
    seen: RangeObserver,
    quantized: Quantized,
    noise_of_range: float,
) -> Tensor:
    """Return ``argmin_r mean((v - Q_r(v))^2) + (noise_of_range r)^2``.

    ``r`` is on a geometric grid from the peak to a hundredth of it.
    """
    # Scaled to about 1 by a power of two, because squares of small numbers would underflow. The
    # exponent is float64: for integers, ldexp computes powers in torch's default dtype.
    unit = torch.frexp(seen.peaks.where(seen.peaks.isfinite(), 1.0)).exponent.double()
    samples = torch.ldexp(seen.samples.double(), -unit.unsqueeze(1)).float()
    peaks = torch.ldexp(seen.peaks, -unit).float()
    shares = torch.logspace(0, -2, _CANDIDATES, dtype=peaks.dtype, device=peaks.device)
    candidates = shares.unsqueeze(1) * peaks  # [candidates, groups]
    errors = []
    for ranges in candidates:
        r = ranges.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)
        noise = (noise_of_range * ranges).square()
        errors.append((quantized(samples / r) * r - samples).square().mean(1) + noise)
    best = torch.stack(errors).argmin(0)
    return torch.ldexp(candidates.gather(0, best.unsqueeze(0)).squeeze(0).double(), unit)


@_full_scales.register
def _(rule: PeakRange, seen: RangeObserver, quantized: Quantized, noise_of_range: float) -> Tensor:
    return seen.peaks


@_full_scales.register
def _(
    rule: PercentileRange, seen: RangeObserver, quantized: Quantized, noise_of_range: float
) -> Tensor:
    share = rule.percentile / 100
    quantiles = torch.stack([group.abs().quantile(share) for group in seen.samples])
    # The percentile of a sparse signal may be zero, which is not a valid range.
    return torch.where(quantiles > 0, quantiles.double(), seen.peaks)


@_full_scales.register
def _(rule: SigmaRange, seen: RangeObserver, quantized: Quantized, noise_of_range: float) -> Tensor:
    return rule.k * seen.rms
