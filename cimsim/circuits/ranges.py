"""Where to set a converter's full scale: measured once on training data, then fixed."""

from __future__ import annotations

import torch
from torch import Tensor

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

    def observe(self, v: Tensor) -> None:
        """Keep a random subset of ``|v|`` and its peak; any shape, never the graph.

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
        peak = flat.abs().max().item()
        if not peak <= self._peak:  # so written that NaN counts as a peak, and stays one
            self._peak = peak

    @property
    def peak(self) -> float:
        """Largest magnitude seen; 0 if nothing was."""
        return self._peak

    def full_scale(self, levels: int, noise_of_range: float = 0.0) -> float:
        """The range with the least mean squared error of rounding, clipping and range-bound noise.

        ``argmin_r mean((v - Q_r(v))^2) + (noise_of_range r)^2`` over a geometric grid from the
        peak down to a hundredth of it. A signal that is zero throughout gets range 1.
        """
        if self._peak == 0.0:
            return 1.0
        samples = torch.cat(self._samples)
        candidates = self._peak * torch.logspace(0, -2, _CANDIDATES)
        errors = []
        for r in candidates.tolist():
            step = r / levels
            quantised = (samples / step).round_().clamp_max_(levels) * step
            errors.append((quantised - samples).square().mean() + (noise_of_range * r) ** 2)
        return float(candidates[torch.stack(errors).argmin()])
