"""The IDX format of MNIST and Fashion-MNIST, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.training.data.layout import read_bytes

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read the uint8 array with ``dimensions`` axes from an IDX file.

    Layout: two zero bytes, type (0x08 = unsigned byte), number of axes, one big-endian 32-bit
    length per axis, then the values in row-major order (Y. LeCun, C. Cortes, C. J. C. Burges, "The
    MNIST database of handwritten digits", section "File formats").

    Raises:
        CimsimError: if the file cannot be read, is damaged or incomplete, or is not such a file.
    """
    raw = _decompressed(path)
    head = 4 + 4 * dimensions
    if raw[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise CimsimError(
            f"{path} is not an IDX file of {dimensions}-dimensional bytes (it "
            f"{_beginning(raw)}); delete it and download it again"
        )
    if len(raw) < head:
        raise CimsimError(
            f"{path} is incomplete: its header is truncated; delete it and download it again"
        )
    shape = tuple(np.frombuffer(raw, ">u4", count=dimensions, offset=4).tolist())
    if len(raw) - head != math.prod(shape):
        raise CimsimError(
            f"{path} is damaged: its header specifies {math.prod(shape)} bytes, but "
            f"{len(raw) - head} follow; delete it and download it again"
        )
    if 0 in shape[1:]:
        raise CimsimError(f"{path} is damaged: its images have no pixels; download it again")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def _decompressed(path: Path) -> bytes:
    """Return the content of a file, decompressed if it is gzip."""
    raw = read_bytes(path)
    try:
        return gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CimsimError(
            f"{path} is damaged or incomplete gzip ({error}); delete it and download it again"
        ) from error


def _beginning(raw: bytes) -> str:
    if not raw:
        return "is empty"
    if raw.lstrip().startswith(b"<"):
        return "looks like a web page"
    return f"starts with bytes {raw[:4].hex(' ')}"
