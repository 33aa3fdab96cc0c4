"""Small data files in the published formats."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.tobytes()


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    return (np.arange(30) % 10).astype(np.uint8)


@pytest.fixture
def data_dir(tmp_path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Path:
    """A data folder with 20 + 10 images as MNIST, compressed as published."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in {
        "train-images-idx3-ubyte": pixels[:20],
        "train-labels-idx1-ubyte": labels[:20],
        "t10k-images-idx3-ubyte": pixels[20:],
        "t10k-labels-idx1-ubyte": labels[20:],
    }.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return tmp_path
