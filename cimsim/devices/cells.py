"""A field of cells through its life: programmed, aged, read.

Every static draw comes from its own generator, named after the chip and the effect. So one chip
keeps its cells whatever age it is looked at, and switching one effect off leaves the draws of all
others as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.devices.drift import drifted_uS
from cimsim.devices.programming import programming_sigma_uS
from cimsim.devices.read_noise import read_sigma_uS
from cimsim.profile import Cell
from cimsim.seeds import generator


def programmed_uS(g_target_uS: Tensor, cell: Cell, seed: int) -> Tensor:
    """Conductance right after programming, in µS.

    ``g = max(g_min, g_target + sum_e sigma_e(g_target) xi_e)`` with ``xi ~ N(0, 1)`` per cell.
    Differentiable in ``g_target_uS`` at fixed draws.
    """
    g_uS = g_target_uS
    active = [(i, effect) for i, effect in enumerate(cell.programming_noise) if effect.strength]
    for index, effect in active:
        draws = generator(seed, "programming", index, device=g_target_uS.device)
        xi = torch.empty_like(g_target_uS).normal_(generator=draws)
        g_uS = g_uS + programming_sigma_uS(effect, g_target_uS, cell) * xi
    return g_uS.clamp_min(cell.g_min_uS) if active else g_uS


def aged_uS(g_uS: Tensor, g_target_uS: Tensor, cell: Cell, age_s: float, seed: int) -> Tensor:
    """Conductance ``age_s`` seconds after programming, in µS: each drift effect in turn."""
    drifted = g_uS
    for index, effect in enumerate(cell.drift):
        draws = generator(seed, "drift", index, device=g_uS.device)
        drifted = drifted_uS(effect, drifted, g_target_uS, age_s, draws)
    return drifted if drifted is g_uS else drifted.clamp_min(cell.g_min_uS)


def read_variance_uS2(g_uS: Tensor, g_target_uS: Tensor, cell: Cell, age_s: float) -> Tensor | None:
    """Variance of one read in µS², summed over independent effects; None where there is none."""
    sigmas = [
        read_sigma_uS(effect, g_uS, g_target_uS, cell, age_s)
        for effect in cell.read_noise
        if effect.strength
    ]
    if not sigmas:
        return None
    variance = sigmas[0].square()
    for sigma in sigmas[1:]:
        variance = variance + sigma.square()
    return variance
