from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.data import load_data, mnist

RAW = Path("MNIST") / "raw"


def test_loads_the_published_layout(data_dir: Path, pixels, labels) -> None:
    data = load_data("mnist", data_dir)
    assert data.name == "mnist"
    assert data.classes == 10
    assert data.input_shape == (1, 28, 28)
    assert data.train_x.shape == (20, 1, 28, 28)
    assert data.test_x.shape == (10, 1, 28, 28)
    assert data.train_x.dtype == data.test_x.dtype == torch.float32
    assert data.train_y.dtype == data.test_y.dtype == torch.int64
    assert data.train_y.tolist() == labels[:20].tolist()
    assert data.test_y.tolist() == labels[20:].tolist()
    mean, std = pixels[:20].mean(), pixels[:20].std()
    assert data.train_x[3, 0].numpy() == pytest.approx((pixels[3] - mean) / std, abs=1e-5)
    assert data.test_x[3, 0].numpy() == pytest.approx((pixels[23] - mean) / std, abs=1e-5)


@pytest.mark.parametrize("place", ["fashion-mnist", ".", "FashionMNIST/raw"])
def test_finds_files_where_people_keep_them(data_dir: Path, tmp_path_factory, place: str) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(data_dir / RAW, elsewhere / place, dirs_exist_ok=True)
    loaded = load_data("fashion-mnist", elsewhere)
    assert loaded.fingerprint == load_data("mnist", data_dir).fingerprint


def test_plain_and_compressed_files_are_the_same_data(data_dir: Path) -> None:
    compressed = load_data("mnist", data_dir)
    for path in (data_dir / RAW).glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = load_data("mnist", data_dir)
    assert plain.fingerprint == compressed.fingerprint
    assert torch.equal(plain.train_x, compressed.train_x)


def test_looks_in_the_environment_and_in_the_cache(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIMSIM_DATA", str(data_dir))
    assert len(load_data("mnist").train_x) == 20
    monkeypatch.setenv("CIMSIM_DATA", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(CimsimError, match=r"home/\.cache/cimsim/MNIST/raw"):
        load_data("mnist")
    shutil.copytree(data_dir / RAW, tmp_path / "home" / ".cache" / "cimsim" / RAW)
    assert len(load_data("mnist").train_x) == 20
    assert len(load_data("mnist", "~/.cache/cimsim").train_x) == 20


def test_missing_data_says_where_it_looked_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CimsimError) as error:
        load_data("fashion-mnist", tmp_path / "nowhere")
    told = str(error.value)
    assert "no fashion-mnist data in" in told
    assert str(tmp_path / "nowhere" / "FashionMNIST" / "raw") in told
    assert "--data-dir" in told
    assert "--download" in told


def test_a_missing_file_is_named(data_dir: Path) -> None:
    (data_dir / RAW / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(CimsimError, match=r"raw lacks t10k-labels-idx1-ubyte of mnist"):
        load_data("mnist", data_dir)


def test_images_and_labels_that_do_not_belong_together(data_dir: Path) -> None:
    raw = data_dir / RAW
    shutil.copy(raw / "t10k-labels-idx1-ubyte.gz", raw / "train-labels-idx1-ubyte.gz")
    with pytest.raises(CimsimError, match=r"train-images.* 20 images, but train-labels.* has 10"):
        load_data("mnist", data_dir)


def test_a_label_out_of_range(data_dir: Path) -> None:
    path = data_dir / RAW / "t10k-labels-idx1-ubyte.gz"
    broken = bytearray(gzip.decompress(path.read_bytes()))
    broken[-1] = 10
    path.write_bytes(gzip.compress(broken))
    with pytest.raises(CimsimError, match="mnist: test labels must be 0 to 9, got 10"):
        load_data("mnist", data_dir)


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CimsimError, match="no mnist data in"):
        load_data("mnist", file)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_published_data(real_data, name: str) -> None:
    data = real_data(name)
    assert data.train_x.shape == (60_000, 1, 28, 28)
    assert data.test_x.shape == (10_000, 1, 28, 28)
    assert (
        torch.bincount(data.test_y).tolist()[:10]
        == {
            "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            "fashion-mnist": [1000] * 10,
        }[name]
    )
    # Mean and standard deviation over 255 as published: 0.1307, 0.3081 and 0.2860, 0.3530.
    mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[name]
    black, white = data.train_x.min().item(), data.train_x.max().item()
    assert black == pytest.approx(-mean / std, abs=1e-3)
    assert white == pytest.approx((1 - mean) / std, abs=1e-3)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_download_expects_the_published_files(
    real_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def deliver(url: str, sha256: str, target: Path) -> None:
        source = Path(os.environ["CIMSIM_DATA"]) / target.relative_to(tmp_path)
        assert hashlib.sha256(source.read_bytes()).hexdigest() == sha256
        assert url.endswith(f"/{target.name}")
        shutil.copy(source, target)

    published = real_data(name)
    monkeypatch.setattr(mnist, "download", deliver)
    assert load_data(name, tmp_path, download=True).fingerprint == published.fingerprint


def test_mnist_in_the_place_of_fashion_mnist_is_noticed(real_data, tmp_path: Path) -> None:
    real_data("mnist")
    source = Path(os.environ["CIMSIM_DATA"]) / RAW
    for file in source.iterdir():
        (tmp_path / file.name).symlink_to(file)
    with pytest.raises(CimsimError, match=r"the fashion-mnist files in .* contain mnist"):
        load_data("fashion-mnist", tmp_path)
