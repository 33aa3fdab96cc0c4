"""Where to set a converter's full scale: measured once on training data, then fixed."""

from __future__ import annotations

import math
from functools import singledispatch

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
_MOST_SAMPLES = 1 << 20
_CANDIDATES = 96


class RangeObserver:
    """Collects magnitudes of a signal over calibration batches and proposes a full scale."""

    def __init__(self) -> None:
        self._samples: list[Tensor] = []
        self._draws = generator("calibration")
        self._share = 1.0
        self._peak = 0.0
        self._squares = 0.0
        self._values = 0

    @property
    def seen(self) -> bool:
        """Whether there was any value at all."""
        return self._values > 0

    def observe(self, v: Tensor) -> None:
        """Keep a random subset of ``|v|``, and of all values the peak and the mean square; any
        shape, never the graph.

        Random, because evenly spaced samples fall into step with the signal's own layout and see a
        single pixel or feature of it.
        """
        flat = v.detach().flatten()
        if flat.numel() == 0:
            return
        wanted = max(1, int(self._share * min(flat.numel(), _SAMPLES_PER_BATCH)))
        if wanted < flat.numel():
            picked = torch.randint(flat.numel(), (wanted,), generator=self._draws)
            self._samples.append(flat[picked.to(flat.device)].abs().float().cpu())
        else:
            self._samples.append(flat.abs().float().cpu())
        if sum(len(samples) for samples in self._samples) > _MOST_SAMPLES:
            everything = torch.cat(self._samples)
            half = torch.randperm(len(everything), generator=self._draws)[: _MOST_SAMPLES // 2]
            self._samples = [everything[half]]
            self._share /= 2
        self._squares += torch.linalg.vector_norm(flat, dtype=torch.float64).item() ** 2
        self._values += flat.numel()
        peak = flat.abs().max().item()
        if peak > self._peak or math.isnan(peak):  # nothing is above NaN, so it stays the peak
            self._peak = peak

    @property
    def peak(self) -> float:
        """Largest magnitude seen; 0 if nothing was."""
        return self._peak

    @property
    def rms(self) -> float:
        """Root mean square of everything seen; 0 if nothing was."""
        return math.sqrt(self._squares / self._values) if self._values else 0.0

    @property
    def samples(self) -> Tensor:
        """The magnitudes that were kept, at least one."""
        return torch.cat(self._samples)

    def full_scale(self, rule: Range, levels: int, noise_of_range: float = 0.0) -> float:
        """The range that ``rule`` proposes for a converter with ``levels`` codes above zero.

        ``noise_of_range`` is noise that grows with the range, as a fraction of it. A signal that is
        zero throughout gets range 1, unless the range is fixed.
        """
        if self._peak == 0.0 and not isinstance(rule, FixedRange):
            return 1.0
        return _full_scale(rule, self, levels, noise_of_range)


@singledispatch
def _full_scale(rule: object, seen: RangeObserver, levels: int, noise_of_range: float) -> float:
    raise NotImplementedError(f"no way to set a range by {type(rule).__name__}")


@_full_scale.register(LearnedRange)
@_full_scale.register(MinimumErrorRange)
def _(
    rule: LearnedRange | MinimumErrorRange, seen: RangeObserver, levels: int, noise_of_range: float
) -> float:
    """``argmin_r mean((v - Q_r(v))^2) + (noise_of_range r)^2`` over a geometric grid from the peak
    down to a hundredth of it."""
    # Exactly scaled to about 1, as squares of small numbers would underflow.
    unit = 2.0 ** math.frexp(seen.peak)[1]
    samples = seen.samples / unit
    candidates = seen.peak / unit * torch.logspace(0, -2, _CANDIDATES)
    errors = []
    for r in candidates.tolist():
        step = r / levels
        quantised = (samples / step).round_().clamp_max_(levels) * step
        errors.append((quantised - samples).square().mean() + (noise_of_range * r) ** 2)
    return float(candidates[torch.stack(errors).argmin()]) * unit


@_full_scale.register
def _(rule: PeakRange, seen: RangeObserver, levels: int, noise_of_range: float) -> float:
    return seen.peak


@_full_scale.register
def _(rule: PercentileRange, seen: RangeObserver, levels: int, noise_of_range: float) -> float:
    # A signal may be zero more often than that; a range of zero would be none at all.
    return seen.samples.quantile(rule.percentile / 100).item() or seen.peak


@_full_scale.register
def _(rule: SigmaRange, seen: RangeObserver, levels: int, noise_of_range: float) -> float:
    return rule.k * seen.rms


@_full_scale.register
def _(rule: FixedRange, seen: RangeObserver, levels: int, noise_of_range: float) -> float:
    return rule.full_scale
