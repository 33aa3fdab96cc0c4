"""The part of read noise that is constant during a session, of a whole array."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cimsim.array.attempts import Writes
from cimsim.circuits.mapping import Mapping
from cimsim.physics import ReadContext, slow_flicker, slow_telegraph_uS
from cimsim.physics.draws import sum_of_normals
from cimsim.profile import Profile
from cimsim.seeds import cycle_seed


def slow_currents(
    profile: Profile,
    g_uS: Tensor,
    state_uS: Tensor,
    arriving: Callable[[Tensor, int], Tensor],
    age_s: float,
    seed: int,
    single_use: bool,
    writes: Writes,
) -> Tensor | None:
    """The change of :meth:`Mapping.relative` by slow noise in the session at ``age_s``, or None.

    The sum of the independent Gaussian noises of a weight's cells is one Gaussian noise, so that a
    pair takes one normal number. It has no gradient: like other read noise, it is not part of
    the mean response.

    Args:
        profile: the profile.
        g_uS, state_uS: cells and their states, ``[devices, tiles, columns, rows]``.
        arriving: attenuates a current of the cells, to the power of its second argument, by the
            lines.
        age_s: seconds since programming.
        seed: names the chip.
        single_use: whether the chip is used in this session only.
        writes: writes of the cells, each of which begins a session of its own.
    """
    cell, mapping = profile.cell, Mapping(profile.cell, profile.array)
    at = ReadContext(g_uS, state_uS, cell, age_s, profile.temperature_C)

    def changes(cycle: int) -> Iterator[Tensor]:
        for sigma_uS, parts in slow_flicker(at, cycle_seed(seed, cycle), single_use):
            variance = mapping.variances(arriving(sigma_uS.square(), 2))
            yield variance.sqrt() * sum_of_normals(variance, parts)
        states_uS = slow_telegraph_uS(g_uS, cell, age_s, seed, cycle)
        if states_uS is not None:
            yield mapping.signed(arriving(states_uS, 1)).sum(0)

    def total(cycle: int) -> Tensor | None:
        parts = list(changes(cycle))
        return sum(parts[1:], parts[0]) if parts else None

    with torch.no_grad():
        return writes.last(total)
