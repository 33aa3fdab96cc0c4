"""Detection of changed tensors without a copy of them."""

from __future__ import annotations

import ctypes
import hashlib

import torch
from torch import Tensor

from cimsim.kernels import of_device

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_AT_ONCE = 1 << 22  # words: 32 MiB as int64


def fingerprint(values: Tensor) -> int:
    """A 64-bit hash of the bytes of ``values``, a tensor of any shape and real dtype.

    The same bytes give the same hash in one process and on one device, also if they were written
    through ``.data`` or by a fused optimizer, which do not change the version counter. Other bytes
    give another hash, except with a probability of at most about 2^-32. The tensor is read once;
    this synchronizes with a GPU.
    """
    if not values.is_contiguous():
        values = values.detach().contiguous()
    backend = of_device(values.device.type)
    if backend is not None:
        return backend.fingerprint(values)
    return _digest(values) if values.is_cpu else sum_of_words(values)


@torch.no_grad()
def sum_of_words(values: Tensor) -> int:
    """The hash of the kernels of a GPU, in plain torch: the sum of the bits of all words, each
    mixed with its place by the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    words = values.view(-1).view(_WORDS[values.element_size()])
    total, first = 0, 1
    for part in words.split(_AT_ONCE):
        place = torch.arange(first, first + len(part), device=part.device)
        x = place.mul_(-7046029254386353131).add_(part)
        for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685), (31, 1)):
            logical = (x >> shift) & ((1 << (64 - shift)) - 1)
            x = (x ^ logical) * factor
        total += int(x.sum().item())
        first += len(part)
    return total % 2**64


def _digest(values: Tensor) -> int:
    # Without numpy: it would prevent FSDP from resizing the memory.
    size = values.numel() * values.element_size()
    buffer = (ctypes.c_char * size).from_address(values.data_ptr()) if size else b""
    return int.from_bytes(hashlib.blake2b(buffer, digest_size=8).digest(), "little")
