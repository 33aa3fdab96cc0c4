"""Cells that do not work, as a test of the chip finds them."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.array.circuit import Circuit
from cimsim.physics import broken_uS


def known_faults(circuit: Circuit, weight: Tensor, seed: int) -> Tensor:
    """Relative conductances of the faulty cells of the chip named ``seed``; NaN for all others.

    ``[devices, *weight.shape]``: for pairs ``(G - g_min) / span``, and otherwise the relative
    weight ``2 (G - g_mid) / span``, at the place of each weight in the order of the cells. Only for
    one pair or cell for each weight.
    """
    mapping, cell = circuit.mapping, circuit.profile.cell
    cells = circuit.tiling.to_cells(weight)
    unknown = torch.full_like(mapping.conductances(torch.zeros_like(cells)), torch.nan)
    g_uS, _ = broken_uS(unknown, cell, circuit.profile.array, seed)
    zero_uS = cell.g_min_uS if mapping.paired else (cell.g_min_uS + cell.g_max_uS) / 2
    unit_uS = mapping.span_uS if mapping.paired else mapping.span_uS / 2
    relative = (mapping.without_references(g_uS, -2) - zero_uS) / unit_uS
    return torch.stack([circuit.tiling.from_cells(device) for device in relative])
