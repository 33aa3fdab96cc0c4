"""Read noise: what changes each time a cell is read."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cimsim.devices.by_kind import ByKind
from cimsim.devices.curves import evaluate
from cimsim.devices.draws import uniform
from cimsim.profile import (
    AbsoluteOneOverFReadNoise,
    Cell,
    GaussianReadNoise,
    OneOverFReadNoise,
    RelativeReadNoise,
    StateDependentReadNoise,
    TelegraphReadNoise,
    ThermalReadNoise,
)
from cimsim.seeds import generator

_BOLTZMANN_J_PER_K = 1.380649e-23
_ZERO_C_IN_K = 273.15


@ByKind
def read_sigma_uS(
    effect: object,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    """Standard deviation in µS of one read of cells at ``g_uS``, ``age_s`` after programming.

    One handler per Gaussian kind of the profile's ``cell.read_noise``; each one's equation stands
    in the docstring of its profile class.
    """
    raise NotImplementedError(f"no physics for read noise {type(effect).__name__}")


@read_sigma_uS.register
def _(
    effect: OneOverFReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    q = evaluate(effect.q, g_target_uS / effect.g_ref_uS).clamp_min(0.0)
    growth = _accumulated(age_s + effect.t0_s, effect.t_read_ns)
    return effect.strength * growth * q * g_uS


@read_sigma_uS.register
def _(
    effect: AbsoluteOneOverFReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    amplitude_uS = evaluate(effect.amplitude_uS, g_uS / effect.g_ref_uS).clamp_min(0.0)
    return effect.strength * _accumulated(age_s, effect.t_read_ns) * amplitude_uS


@read_sigma_uS.register
def _(
    effect: StateDependentReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    return effect.strength * evaluate(effect.sigma_uS, g_uS / effect.g_ref_uS).clamp_min(0.0)


@read_sigma_uS.register
def _(
    effect: RelativeReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    return effect.strength * effect.sigma_of_g * g_uS


@read_sigma_uS.register
def _(
    effect: GaussianReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
    return g_uS.new_full((), sigma_uS).expand_as(g_uS)


@read_sigma_uS.register
def _(
    effect: ThermalReadNoise,
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
) -> Tensor:
    bandwidth_Hz = 1 / (2 * effect.t_read_ns * 1e-9)
    kelvin = temperature_C + _ZERO_C_IN_K
    # sqrt(4 k T B g) / v with g in S, in µS: 1e6 sqrt(1e-6) = 1e3 for g in µS
    per_root_uS = 1e3 * math.sqrt(4 * _BOLTZMANN_J_PER_K * kelvin * bandwidth_Hz) / effect.v_read_V
    # The root is taken of conducting cells only: at zero its slope is infinite.
    conducting = g_uS > 0
    root = torch.where(conducting, g_uS, 1.0).sqrt()
    return effect.strength * per_root_uS * root * conducting


def _accumulated(age_s: float, t_read_ns: float) -> float:
    """``sqrt(ln((t + t_read) / (2 t_read)))``, 0 where the logarithm is negative."""
    t_read_s = t_read_ns * 1e-9
    return math.sqrt(max(0.0, math.log((age_s + t_read_s) / (2 * t_read_s))))


def telegraph_step_uS(effect: TelegraphReadNoise, g_uS: Tensor, draws: torch.Generator) -> Tensor:
    """Conductance in µS between the two states of each cell, 0 in cells without a trap.

    Which cells have one is drawn from ``draws``, the same for each strength.
    """
    trapped = uniform(g_uS, draws) < effect.share_of_cells
    return g_uS * trapped * (effect.strength * effect.step_of_g)


def sampled_reads_uS(
    g_uS: Tensor,
    g_target_uS: Tensor,
    cell: Cell,
    age_s: float,
    temperature_C: float,
    seed: int,
    read_generator: torch.Generator,
    reads: int,
) -> Tensor:
    """The slow reference: every cell drawn for every read, ``[reads, *g_uS.shape]`` in µS.

    ``seed`` names the chip, whose traps are the same in all reads.
    """
    sampled = g_uS.repeat(reads, *(1 for _ in g_uS.shape))
    for index, effect in enumerate(cell.read_noise):
        if not effect.strength:
            continue
        if isinstance(effect, TelegraphReadNoise):
            draws = generator(seed, "telegraph", index, device=g_uS.device)
            step_uS = telegraph_step_uS(effect, g_uS, draws)
            filled = (uniform(sampled, read_generator) < effect.occupancy).to(g_uS.dtype)
            sampled = sampled + step_uS * (effect.occupancy - filled)
        else:
            sigma_uS = read_sigma_uS(effect, g_uS, g_target_uS, cell, age_s, temperature_C)
            xi = torch.empty_like(sampled).normal_(generator=read_generator)
            sampled = sampled + sigma_uS * xi
    return sampled
