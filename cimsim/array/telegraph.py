"""Random telegraph noise of a whole array, exactly: only cells with a trap are drawn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.circuits.mapping import Mapping
from cimsim.physics import telegraph_step_uS
from cimsim.profile import CellSpec, TelegraphReadNoise
from cimsim.sampling import bernoulli
from cimsim.seeds import generator

_MOST_DRAWS = 1 << 22  # at a time


class Traps(NamedTuple):
    """The cells that one effect has traps in, sorted by column.

    ``tile``, ``row`` and ``step`` (in relative current, signed) have one entry for each of them;
    ``per_column [tiles * columns]`` counts them.
    """

    tile: Tensor
    row: Tensor
    step: Tensor
    per_column: Tensor
    occupancy: float


def find_traps(cell: CellSpec, mapping: Mapping, g_uS: Tensor, seed: int) -> tuple[Traps, ...]:
    """Traps whose states are new for every read, in ``g_uS [devices, tiles, columns, rows]``.

    Reads the number of traps on the host; it is done once for each chip.
    """
    traps = []
    for index, effect in enumerate(cell.read_noise):
        if not (isinstance(effect, TelegraphReadNoise) and effect.strength) or effect.slow:
            continue
        draws = generator(seed, "telegraph", index, device=g_uS.device)
        step_uS = telegraph_step_uS(effect, g_uS.detach(), draws)
        relative = mapping.signed(step_uS).permute(1, 2, 0, 3)  # for the order of nonzero()
        tile, column, device, row = relative.nonzero(as_tuple=True)
        columns = g_uS.shape[-2]
        counts = torch.bincount(tile * columns + column, minlength=g_uS.shape[1] * columns)
        step = relative[tile, column, device, row]
        traps.append(Traps(tile, row, step, counts, effect.occupancy))
    return tuple(traps)


def telegraph_currents(inputs: Tensor, traps: Traps, draws: torch.Generator) -> Tensor:
    """One read of every vector: ``sum_r u_r step_r (p - b_r)`` with ``b ~ Bernoulli(p)`` for each.

    ``inputs [tiles, vectors, rows]`` gives relative currents ``[tiles, columns, vectors]``. Costs
    one draw for each trap and vector.
    """
    tiles, vectors, _ = inputs.shape
    by_row = inputs.transpose(1, 2)
    parts = []
    for chunk in by_row.split(max(1, _MOST_DRAWS // max(1, len(traps.step))), dim=2):
        u = chunk[traps.tile, traps.row]
        filled = bernoulli(u, traps.occupancy, draws)
        each = (traps.occupancy - filled).mul_(u).mul_(traps.step.unsqueeze(-1))
        # Segments, because the order of scattered additions on a GPU differs from run to run.
        parts.append(torch.segment_reduce(each, "sum", lengths=traps.per_column, axis=0))
    columns = len(traps.per_column) // tiles
    return torch.cat(parts, dim=1).view(tiles, columns, vectors)
