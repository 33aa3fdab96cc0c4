"""Programming, aging and temperature of a field of cells.

Fields have the shape ``[devices, tiles, columns, rows]`` if positions matter (faults), and any
shape otherwise. Every static draw has a separate seed, derived from the chip and the effect. A chip
therefore has the same cells at every age, and disabling one effect does not change the draws of the
others.
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
    """Return the conductance in µS after programming, in write cycle ``cycle`` of chip ``seed``.

    ``g = bounded(g_target + sum_e (bias_e + sigma_e xi_e))`` with ``xi ~ N(0, 1)`` per cell and the
    bounds of ``cell``. With ``write_verify``, the sum of the errors is truncated to the tolerance:
    the device's share of each error is an additional mean error, and the rest is sampled from the
    distribution truncated to the window. Differentiable in ``g_target_uS`` at fixed draws.
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
        # A norm instead of the root of a sum, whose gradient is infinite if no effect is noisy.
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
    """Return the conductance in µS after ``age_s`` seconds, with all drift effects in order.

    ``seed`` identifies the chip, ``cycle`` its write cycle; ``temperature_C`` is the operating
    temperature.
    """
    drifted = g_uS
    for index, effect in enumerate(cell.drift):
        parts = written_parts(seed, cycle, effect.device_share, "drift", index)
        drifted = drifted_uS(effect, drifted, g_target_uS, age_s, parts, temperature_C)
    return drifted if drifted is g_uS else drifted.clamp(*cell.bounds_uS)


def at_temperature_uS(
    g_uS: Tensor, g_target_uS: Tensor, cell: CellSpec, temperature_C: float
) -> Tensor:
    """Return the conductance in µS at the operating temperature, with all effects in order."""
    for effect in cell.temperature:
        if effect.strength:
            g_uS = warmed_uS(effect, g_uS, g_target_uS, temperature_C)
    return g_uS
