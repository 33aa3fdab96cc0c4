"""Detection of changed tensors without a copy of them."""

from __future__ import annotations

import ctypes
import hashlib
from functools import lru_cache

import torch
from torch import Tensor

from cimsim.kernels import of_device
from cimsim.seeds import generator

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ROW = 4096
_ROWS_AT_ONCE = 1024  # 32 MiB of int64 products


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
    return _digest(values) if values.is_cpu else _sum_of_words(values)


@torch.no_grad()
def _sum_of_words(values: Tensor) -> int:
    words = values.view(-1).view(_WORDS[values.element_size()])
    level = 0
    while words.numel() > 1:
        words = _sums_of_rows(words, _factors(level, words.device))
        level += 1
    return int(words.sum().item()) % 2**64


def _digest(values: Tensor) -> int:
    # Not by way of numpy, after which the memory can no longer be resized, as FSDP does.
    size = values.numel() * values.element_size()
    buffer = (ctypes.c_char * size).from_address(values.data_ptr()) if size else b""
    return int.from_bytes(hashlib.blake2b(buffer, digest_size=8).digest(), "little")


def _sums_of_rows(words: Tensor, factors: Tensor) -> Tensor:
    """Sums modulo 2^64 over rows of 4096 words, each word times its factor."""
    rows = torch.nn.functional.pad(words, (0, -len(words) % _ROW)).view(-1, _ROW)
    return torch.cat([(part * factors).sum(1) for part in rows.split(_ROWS_AT_ONCE)])


@lru_cache(maxsize=64)
def _factors(level: int, device: torch.device) -> Tensor:
    """Odd numbers, others at each level: otherwise two words could trade places unnoticed."""
    drawn = torch.randint(2**62, (_ROW,), generator=generator("fingerprint", level))
    return (2 * drawn + 1).to(device)
