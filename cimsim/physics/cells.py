"""A field of cells through its life: programmed, aged, warmed, broken, read.

Fields have the shape ``[devices, tiles, columns, rows]`` where positions matter (faults), and any
shape elsewhere. Every static draw has a seed of its own, named after the chip and the
effect. So one chip keeps its cells whatever age it is looked at, and switching one effect off
leaves the draws of all others as they were.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cimsim.physics.draws import normal, sum_of_normals
from cimsim.physics.drift import drifted_uS
from cimsim.physics.programming import programming_bias_uS, programming_sigma_uS, truncated_normal
from cimsim.physics.temperature import warmed_uS
from cimsim.physics.writing import written_parts
from cimsim.profile import CellSpec
from cimsim.seeds import cycle_seed, generator, seed_for


def programmed_uS(g_target_uS: Tensor, cell: CellSpec, seed: int, cycle: int = 0) -> Tensor:
    """Conductance right after programming, in µS, in write cycle ``cycle`` of the chip ``seed``.

    ``g = bounded(g_target + sum_e (bias_e + sigma_e xi_e))`` with ``xi ~ N(0, 1)`` per cell and the
    bounds of ``cell``. With ``write_verify`` the sum of the errors is cut off at its tolerance: the
    device's share of each is one more mean error, and what differs from write to write is drawn
    until the sum lies in the window. Differentiable in ``g_target_uS`` at fixed draws.
    """
    active = [(i, effect) for i, effect in enumerate(cell.programming_noise) if effect.strength]
    if not active:
        return g_target_uS
    error_uS = torch.zeros_like(g_target_uS)
    for _, effect in active:
        bias_uS = programming_bias_uS(effect, g_target_uS)
        if bias_uS is not None:
            error_uS = error_uS + bias_uS
    sigmas_uS = [programming_sigma_uS(effect, g_target_uS, cell) for _, effect in active]
    if cell.write_verify is not None:
        for number, (index, effect) in enumerate(active):
            share = effect.device_share
            if share:
                of_device = seed_for(seed, "device", "programming", index)
                d = normal(g_target_uS, of_device) * math.sqrt(share)
                error_uS = error_uS + sigmas_uS[number] * d
                sigmas_uS[number] = sigmas_uS[number] * math.sqrt(1.0 - share)
        now = cycle_seed(seed, cycle)
        draws = generator(now, "programming", "verified", device=g_target_uS.device)
        # A norm rather than the root of a sum, whose slope is infinite where no effect is noisy.
        sigma_uS = torch.linalg.vector_norm(torch.stack(sigmas_uS), dim=0)
        window_uS = cell.write_verify.tolerance_uS
        error_uS = truncated_normal(error_uS, sigma_uS, window_uS, draws)
    else:
        for (index, effect), sigma_uS in zip(active, sigmas_uS, strict=True):
            parts = written_parts(seed, cycle, effect.device_share, "programming", index)
            error_uS = error_uS + sigma_uS * sum_of_normals(g_target_uS, parts)
    return (g_target_uS + error_uS).clamp(*cell.bounds_uS)


def aged_uS(
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: CellSpec,
    age_s: float,
    seed: int,
    cycle: int = 0,
    temperature_C: float = 25.0,
) -> Tensor:
    """Conductance ``age_s`` seconds after programming, in µS: each drift effect in turn.

    ``seed`` names the chip, ``cycle`` its write cycle; ``temperature_C`` is that of operation.
    """
    drifted = g_uS
    for index, effect in enumerate(cell.drift):
        parts = written_parts(seed, cycle, effect.device_share, "drift", index)
        drifted = drifted_uS(effect, drifted, g_target_uS, age_s, parts, temperature_C)
    return drifted if drifted is g_uS else drifted.clamp(*cell.bounds_uS)


def at_temperature_uS(
    g_uS: Tensor, g_target_uS: Tensor, cell: CellSpec, temperature_C: float
) -> Tensor:
    """Conductance at the operating temperature, in µS: each temperature effect in turn."""
    for effect in cell.temperature:
        if effect.strength:
            g_uS = warmed_uS(effect, g_uS, g_target_uS, temperature_C)
    return g_uS
