"""Errors sampled when cells are written: once per chip, and once per write cycle."""

from __future__ import annotations

import math

from cimsim.physics.sessions import Part
from cimsim.seeds import cycle_seed, seed_for


def written_parts(seed: int, cycle: int, share: float, *name: object) -> tuple[Part, ...]:
    """Return the summands of a cell's normal number in write cycle ``cycle`` of the chip ``seed``.

    With ``x_0`` the number of cycle 0, for any share, and ``e`` and ``c_n`` independent normal
    numbers of the chip and of the cycle,

        x_n = share x_0 + sqrt(share (1 - share)) e + sqrt(1 - share) c_n    for n > 0

    All ``x_n`` have a variance of 1 and pairwise correlations of ``share``, as in
    :class:`cimsim.profile.WrittenEffect` with ``d = sqrt(share) x_0 + sqrt(1 - share) e``.

    Args:
        seed: seed of the chip.
        cycle: number of earlier write cycles of the chip.
        share: fraction of the variance that is fixed per device, 0 to 1.
        name: name of the effect, part of the seeds.
    """
    first = Part(seed_for(seed, *name), 1.0)
    if cycle == 0 or share == 1.0:
        return (first,)
    again = Part(seed_for(cycle_seed(seed, cycle), *name), math.sqrt(1.0 - share))
    if share == 0.0:
        return (again,)
    of_device = Part(seed_for(seed, "device", *name), math.sqrt(share * (1.0 - share)))
    return first._replace(size=share), of_device, again
