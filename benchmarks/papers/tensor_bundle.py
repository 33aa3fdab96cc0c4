"""Tensors of a TensorFlow checkpoint (an index and its data files), without TensorFlow.

The index is a sorted table of LevelDB: blocks of entries whose keys share prefixes, an index block,
and a footer of 48 bytes. Each value is a protocol buffer with the type, shape, file, offset and
size of one tensor. Only uncompressed blocks and float32 tensors are read; no code of the file runs.

Format: ``tensorflow/core/util/tensor_bundle`` and ``doc/table_format.md`` of LevelDB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_FOOTER, _TRAILER = 48, 5
_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def read_bundle(folder: Path, stem: str = "variables") -> dict[str, Tensor]:
    """All float32 tensors of ``folder`` by name, without the suffix that all variables have.

    ``stem`` is the beginning of the names of its files.

    Raises:
        SystemExit: if there is no such checkpoint, or its format is another one.
    """
    index = folder / f"{stem}.index"
    if not index.is_file():
        raise SystemExit(f"{index} is missing; --weights is a clone of weierwan/Neurram_48core")
    data = index.read_bytes()
    footer = data[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise SystemExit(f"{index} is not the index of a TensorFlow checkpoint")
    _, at = _handle(footer, 0)
    place, _ = _handle(footer, at)
    tensors: dict[str, Tensor] = {}
    shards = sorted(folder.glob(f"{stem}.data-*"))
    contents = [file.read_bytes() for file in shards]
    for _, value in _entries(data, *place):
        for key, entry in _entries(data, *_handle(value, 0)[0]):
            name, _, rest = key.decode().partition("/.ATTRIBUTES/")
            if rest != "VARIABLE_VALUE":
                continue
            found = _tensor(entry, contents)
            if found is not None:
                tensors[name] = found
    return tensors


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the place behind them."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _entries(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block."""
    if data[offset + size]:
        raise SystemExit("the index of the checkpoint is compressed, which is not supported")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        more, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + more]
        at += more
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, at = _varint(message, at)
        else:
            length = 4 if tag & 7 == _FIXED32 else 0
            if tag & 7 == _BYTES:
                length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def _tensor(entry: bytes, contents: list[bytes]) -> Tensor | None:
    """The tensor of one entry; None if it is not float32."""
    fields = dict(_fields(entry))
    if fields.get(1) != _FLOAT32:
        return None
    shape_message = fields.get(2, b"")
    assert isinstance(shape_message, bytes)
    shape = [
        int(dict(_fields(dim)).get(1, 0))
        for number, dim in _fields(shape_message)
        if number == 2 and isinstance(dim, bytes)
    ]
    shard, offset, size = (int(fields.get(number, 0)) for number in (3, 4, 5))
    values = np.frombuffer(contents[shard][offset : offset + size], dtype="<f4")
    return torch.from_numpy(values.copy()).view(shape)
