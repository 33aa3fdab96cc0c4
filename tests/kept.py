"""What a module keeps for backward, counted by saved-tensor hooks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes of all storages that ``module`` saves of ``x``; those of its parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    storages: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    kept = sum(size for address, size in storages.items() if address not in own)
    assert y.grad_fn is not None
    return kept
