from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.training.data import load_data
from cimsim.training.data.cifar10 import CHECKSUMS, read_binary, read_pickle

PATH = Path("data_batch_1")


def records(images: int, seed: int) -> NDArray[np.uint8]:
    """Rows of the binary version: a label, then 3072 pixels."""
    rows = np.random.default_rng(seed).integers(0, 256, (images, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(images) % 10
    return rows


def as_pickle(rows: NDArray[np.uint8]) -> bytes:
    """The Python version of the same images."""
    batch = {"data": rows[:, 1:].copy(), "labels": rows[:, 0].tolist(), "batch_label": "one"}
    return pickle.dumps(batch, protocol=4)


@pytest.fixture
def binary_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for seed, stem in enumerate(CHECKSUMS):
        (folder / f"{stem}.bin").write_bytes(records(10, seed).tobytes())
    return tmp_path


def test_loads_the_binary_version(binary_dir: Path) -> None:
    data = load_data("cifar10", binary_dir)
    assert data.input_shape == (3, 32, 32)
    assert data.train_x.shape == (50, 3, 32, 32)
    assert data.test_x.shape == (10, 3, 32, 32)
    assert data.train_y.tolist() == [*range(10)] * 5
    # The second training file follows the first; the green plane is the second third of a row.
    rows = np.concatenate([records(10, seed)[:, 1:] for seed in range(5)])
    green = rows[:, 1024:2048]
    expected = (green[13].reshape(32, 32) - green.mean()) / green.std()
    assert data.train_x[13, 1].numpy() == pytest.approx(expected, abs=1e-5)


def test_every_channel_is_normalized_by_itself(binary_dir: Path) -> None:
    x = load_data("cifar10", binary_dir).train_x
    assert x.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert x.std(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-4)


def test_both_versions_hold_the_same_images() -> None:
    rows = records(7, seed=0)
    raw = as_pickle(rows)
    unpickled = read_pickle(raw, PATH, hashlib.sha256(raw).hexdigest())
    binary = read_binary(rows.tobytes(), PATH)
    assert np.array_equal(unpickled.pixels, binary.pixels)
    assert np.array_equal(unpickled.labels, binary.labels)
    assert unpickled.labels.dtype == np.int64


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("this must never run",)


def test_a_pickle_that_is_not_the_published_one_is_not_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for stem in CHECKSUMS:
        (folder / stem).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(CimsimError, match=r"data_batch_1 .* not the published CIFAR-10 file"):
        load_data("cifar10", tmp_path)
    assert capsys.readouterr().out == ""


def test_even_with_the_right_checksum_only_arrays_come_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = pickle.dumps(Attack())
    with pytest.raises(pickle.UnpicklingError, match=r"print is not allowed"):
        read_pickle(raw, PATH, hashlib.sha256(raw).hexdigest())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"<html>", b"x" * 3074])
def test_a_damaged_binary_file_is_named(binary_dir: Path, content: bytes) -> None:
    path = binary_dir / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(content)
    with pytest.raises(CimsimError, match=rf"data_batch_3.bin is damaged: {len(content)} bytes"):
        load_data("cifar10", binary_dir)


def test_published_data(real_data) -> None:
    data = real_data("cifar10")
    assert data.train_x.shape == (50_000, 3, 32, 32)
    assert data.test_x.shape == (10_000, 3, 32, 32)
    assert torch.bincount(data.train_y).tolist() == [5000] * 10
    assert torch.bincount(data.test_y).tolist() == [1000] * 10
    # Channel means over 255 as published: 0.4914, 0.4822, 0.4465; standard deviations 0.247,
    # 0.243, 0.262. A black pixel is therefore at -mean / std.
    black = data.train_x.amin(dim=(0, 2, 3)).tolist()
    assert black == pytest.approx([-0.4914 / 0.247, -0.4822 / 0.2435, -0.4465 / 0.2616], abs=5e-3)
