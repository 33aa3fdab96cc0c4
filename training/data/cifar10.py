"""CIFAR-10: 50,000 + 10,000 color images of 32x32 in ten classes."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimsim.errors import CimsimError
from cimsim.files import replacing
from cimsim.training.data.dataset import Images
from cimsim.training.data.download import download as download_file
from cimsim.training.data.layout import Layout, read_bytes

_ARCHIVE_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
_FOLDER = "cifar-10-batches-py"

# SHA-256 of the pickles inside that archive.
CHECKSUMS = {
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}

_IMAGE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32


def read_cifar10(data_dir: Path, download: bool) -> tuple[Images, Images]:
    """Read training and test images [3, 32, 32] from the six files of the Python or binary version.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Raises:
        CimsimError: if a file is missing, unreadable or damaged, or is a pickle other than the
            published one (pickles can run code, so no other is opened).
    """
    batches = [_read_batch(path) for path in CIFAR10.locate(data_dir, download)]
    pixels = np.concatenate([batch.pixels for batch in batches[:-1]])
    labels = np.concatenate([batch.labels for batch in batches[:-1]])
    return Images(pixels, labels), batches[-1]


def _read_batch(path: Path) -> Images:
    raw = read_bytes(path)
    if path.suffix == ".bin":
        return read_binary(raw, path)
    return read_pickle(raw, path, CHECKSUMS[path.name])


def read_binary(raw: bytes, path: Path) -> Images:
    """Parse the binary version: per image one label byte, then 1024 red, green, blue bytes."""
    if not raw or len(raw) % _RECORD_BYTES:
        raise CimsimError(
            f"{path} is damaged: {len(raw)} bytes are not a whole number of {_RECORD_BYTES}-byte "
            "images; delete it and download it again"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, _RECORD_BYTES)
    return Images(records[:, 1:].reshape(-1, *_IMAGE), records[:, 0].astype(np.int64))


def read_pickle(raw: bytes, path: Path, sha256: str) -> Images:
    """Unpickle a batch of the Python version if its SHA-256 (hex) is ``sha256``."""
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise CimsimError(
            f"{path} ({len(raw)} bytes) is damaged or not the published CIFAR-10 file, and it is "
            "a pickle, which can run code; delete it and download it again, or use the binary "
            "version"
        )
    batch = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    labels = np.asarray(batch["labels"], dtype=np.int64)
    return Images(batch["data"].reshape(-1, *_IMAGE), labels)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that accepts only numpy arrays and plain containers."""

    # Taken from an array because numpy 2 renamed the module that defines it.
    _ALLOWED = {  # noqa: RUF012
        "_reconstruct": np.empty(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return self._ALLOWED[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _fetch(missing: Sequence[str], folder: Path) -> None:
    """Download the archive (170 MB), extract the missing files and delete the archive."""
    archive = folder / "cifar-10-python.tar.gz"
    download_file(_ARCHIVE_URL, _ARCHIVE_SHA256, archive)
    try:
        with tarfile.open(archive) as tar:
            for name in missing:
                member = tar.extractfile(f"{_FOLDER}/{name}")
                assert member is not None
                with replacing(folder / name) as part:
                    part.write_bytes(member.read())
    finally:
        archive.unlink()


CIFAR10 = Layout(
    name="cifar10",
    folders=(_FOLDER, "cifar-10-batches-bin", "cifar10", "."),
    stems=tuple(CHECKSUMS),
    suffixes=("", ".bin"),
    fetch=_fetch,
)
