"""Read noise: changes of a cell's conductance between reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.physics.draws import sum_of_normals
from cimsim.physics.sessions import Part, fast_variance, flicker_variance, slow_parts
from cimsim.profile import (
    AbsoluteOneOverFReadNoise,
    CellSpec,
    FlickerReadNoise,
    GaussianReadNoise,
    OneOverFReadNoise,
    RelativeReadNoise,
    StateDependentReadNoise,
    TelegraphReadNoise,
    ThermalReadNoise,
)
from cimsim.sampling import standard_normal, uniform
from cimsim.seeds import cycle_seed, generator

_BOLTZMANN_J_PER_K = 1.380649e-23
_ZERO_C_IN_K = 273.15


class ReadContext(NamedTuple):
    """Cells that are read.

    Attributes:
        g_uS, g_target_uS: current and target conductances, of one shape; the target of a faulty
            cell is what it holds.
        cell: their physics.
        age_s: seconds since programming.
        temperature_C: operating temperature.
    """

    g_uS: Tensor
    g_target_uS: Tensor
    cell: CellSpec
    age_s: float = 0.0
    temperature_C: float = 25.0


@singledispatch
def read_sigma_uS(effect: object, at: ReadContext) -> Tensor:
    """Return the standard deviation in µS of one read of cells.

    For flicker noise, the result is the amplitude, which :mod:`cimsim.physics.sessions` multiplies
    by the root of a variance. There is one handler for each Gaussian kind of ``cell.read_noise``;
    the docstring of its profile class gives the equation.
    """
    raise NotImplementedError(f"no physics for read noise {type(effect).__name__}")


@read_sigma_uS.register
def _(effect: OneOverFReadNoise, at: ReadContext) -> Tensor:
    q = evaluate(effect.q, at.g_target_uS / effect.g_ref_uS).clamp_min(0.0)
    return effect.strength * q * at.g_uS


@read_sigma_uS.register
def _(effect: AbsoluteOneOverFReadNoise, at: ReadContext) -> Tensor:
    amplitude_uS = evaluate(effect.amplitude_uS, at.g_uS / effect.g_ref_uS).clamp_min(0.0)
    return effect.strength * amplitude_uS


@read_sigma_uS.register
def _(effect: StateDependentReadNoise, at: ReadContext) -> Tensor:
    return effect.strength * evaluate(effect.sigma_uS, at.g_uS / effect.g_ref_uS).clamp_min(0.0)


@read_sigma_uS.register
def _(effect: RelativeReadNoise, at: ReadContext) -> Tensor:
    return effect.strength * effect.sigma_of_g * at.g_uS


@read_sigma_uS.register
def _(effect: GaussianReadNoise, at: ReadContext) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * at.cell.g_max_uS
    return at.g_uS.new_full((), sigma_uS).expand_as(at.g_uS)


@read_sigma_uS.register
def _(effect: ThermalReadNoise, at: ReadContext) -> Tensor:
    bandwidth_Hz = 1 / (2 * effect.t_read_ns * 1e-9)
    kelvin = at.temperature_C + _ZERO_C_IN_K
    # sqrt(4 k T B g) / v with g in S, in µS: 1e6 sqrt(1e-6) = 1e3 for g in µS
    per_root_uS = 1e3 * math.sqrt(4 * _BOLTZMANN_J_PER_K * kelvin * bandwidth_Hz) / effect.v_read_V
    # Only conducting cells: the slope of the root is infinite at zero.
    conducting = at.g_uS > 0
    root = torch.where(conducting, at.g_uS, 1.0).sqrt()
    return effect.strength * per_root_uS * root * conducting


def read_variance_uS2(at: ReadContext, *, sessions: bool = False) -> Tensor | None:
    """Return the variance in µS² of successive reads, summed over the Gaussian effects.

    With ``sessions``, return the variance of reads in different sessions. None without noise.
    """
    total: Tensor | None = None
    for effect in at.cell.read_noise:
        if not effect.strength or isinstance(effect, TelegraphReadNoise):
            continue
        growth = 1.0
        if isinstance(effect, FlickerReadNoise):
            growth = (flicker_variance if sessions else fast_variance)(effect.times, at.age_s)
        variance = read_sigma_uS(effect, at).square() * growth
        total = variance if total is None else total + variance
    return total


def slow_flicker(
    at: ReadContext, seed: int, single_use: bool
) -> Iterator[tuple[Tensor, tuple[Part, ...]]]:
    """Yield the amplitude in µS and the normal parts of each flicker noise with a slow part.

    ``at.age_s`` selects the session.

    ``seed`` names the chip; ``single_use`` as for :func:`cimsim.physics.sessions.slow_parts`.
    """
    for index, effect in enumerate(at.cell.read_noise):
        if isinstance(effect, FlickerReadNoise) and effect.strength:
            parts = slow_parts(effect.times, index, at.age_s, seed, single_use)
            if parts:
                yield read_sigma_uS(effect, at), parts


def slow_telegraph_uS(
    g_uS: Tensor, cell: CellSpec, age_s: float, seed: int, cycle: int = 0
) -> Tensor | None:
    """Return the change of every cell by traps with constant states in the session at ``age_s``.

    None if there are no such traps. ``seed`` determines the traps, ``cycle`` also their states.
    """
    total: Tensor | None = None
    for index, effect in enumerate(cell.read_noise):
        if isinstance(effect, TelegraphReadNoise) and effect.strength and effect.slow:
            change = _slow_telegraph_uS(effect, index, g_uS, age_s, seed, cycle)
            total = change if total is None else total + change
    return total


def _slow_telegraph_uS(
    effect: TelegraphReadNoise, index: int, g_uS: Tensor, age_s: float, seed: int, cycle: int
) -> Tensor:
    """Return the change by the traps of one effect in the session at ``age_s``.

    A trap samples a state every t_switch, at a phase that is sampled once.
    """
    assert effect.t_switch_s is not None
    now = cycle_seed(seed, cycle)

    def drawn(*name: object) -> Tensor:
        return uniform(g_uS, generator(now, "telegraph", index, *name, device=g_uS.device))

    n, share = divmod(age_s / effect.t_switch_s, 1.0)
    states = [drawn("state", int(n) + later) < effect.occupancy for later in (0, 1)]
    filled = torch.where(drawn("moment") < share, states[1], states[0])
    draws = generator(seed, "telegraph", index, device=g_uS.device)
    return telegraph_step_uS(effect, g_uS, draws) * (effect.occupancy - filled.to(g_uS.dtype))


def telegraph_step_uS(effect: TelegraphReadNoise, g_uS: Tensor, draws: torch.Generator) -> Tensor:
    """Return the conductance in µS between the two states of each cell, 0 without a trap.

    The cells with a trap are sampled from ``draws``, independent of the strength.
    """
    trapped = uniform(g_uS, draws) < effect.share_of_cells
    return g_uS * trapped * (effect.strength * effect.step_of_g)


def sampled_reads_uS(
    at: ReadContext, seed: int, read_generator: torch.Generator, reads: int
) -> Tensor:
    """Sample every cell for every read, ``[reads, *g_uS.shape]`` in µS, as a reference.

    ``seed`` identifies the chip, whose traps and slow noise are the same in all reads.
    """
    g_uS = at.g_uS
    sampled = g_uS.repeat(reads, *(1 for _ in g_uS.shape))
    for sigma_uS, parts in slow_flicker(at, seed, single_use=False):
        sampled = sampled + sigma_uS * sum_of_normals(g_uS, parts)
    states_uS = slow_telegraph_uS(g_uS, at.cell, at.age_s, seed)
    if states_uS is not None:
        sampled = sampled + states_uS
    for index, effect in enumerate(at.cell.read_noise):
        if not effect.strength:
            continue
        if isinstance(effect, TelegraphReadNoise):
            if effect.slow:
                continue
            draws = generator(seed, "telegraph", index, device=g_uS.device)
            step_uS = telegraph_step_uS(effect, g_uS, draws)
            filled = (uniform(sampled, read_generator) < effect.occupancy).to(g_uS.dtype)
            sampled = sampled + step_uS * (effect.occupancy - filled)
        else:
            growth = 1.0
            if isinstance(effect, FlickerReadNoise):
                growth = fast_variance(effect.times, at.age_s)
            xi = standard_normal(sampled, read_generator)
            sampled = sampled + math.sqrt(growth) * read_sigma_uS(effect, at) * xi
    return sampled
