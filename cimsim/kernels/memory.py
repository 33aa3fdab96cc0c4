"""Memory for short-lived results, reused from call to call.

Fresh memory on a CPU costs more than what is written to it: the system clears it page by page. On
a GPU, torch's own allocator reuses memory.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

from cimsim.lasting import lasting

_MOST_VIEWS = 4096  # of each thread; batches of any length would add views without end


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self.views: dict[tuple[str, torch.dtype, tuple[int, ...]], Tensor] = {}


_scratch = _Scratch()


def scratch(slot: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """CPU memory for a result that is used before the same ``slot`` is requested again.

    Each thread has its own memory, as large as its largest request.
    """
    view = _scratch.views.get((slot, dtype, shape))
    if view is not None:
        return view
    memory = _scratch.memory.get((slot, dtype))
    numel = math.prod(shape)
    with lasting():
        if memory is None or memory.numel() < numel:
            # Views of the smaller memory would keep it alive.
            for key in [key for key in _scratch.views if key[:2] == (slot, dtype)]:
                del _scratch.views[key]
            memory = _scratch.memory[slot, dtype] = torch.empty(numel, dtype=dtype, device="cpu")
        if len(_scratch.views) >= _MOST_VIEWS:
            _scratch.views.clear()
        view = _scratch.views[slot, dtype, shape] = memory[:numel].view(shape)
    return view


def scratch_on(
    slot: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Memory for a short-lived result on ``device``: :func:`scratch` on the CPU."""
    if device.type == "cpu":
        return scratch(slot, tuple(shape), dtype)
    return torch.empty(shape, dtype=dtype, device=device)
