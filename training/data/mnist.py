"""MNIST and Fashion-MNIST: 60,000 + 10,000 gray images of 28x28 in ten classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import Images
from cimsim.training.data.download import download
from cimsim.training.data.idx import read_idx
from cimsim.training.data.layout import Layout

STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_mnist(layout: Layout, data_dir: Path, download: bool) -> tuple[Images, Images]:
    """Read training and test images [1, 28, 28] from the four IDX files of ``layout``.

    Raises:
        CimsimError: if a file is missing, unreadable or damaged, or if the numbers of images and
            labels differ.
    """
    train_x, train_y, test_x, test_y = layout.locate(data_dir, download)
    return _split(train_x, train_y), _split(test_x, test_y)


def _split(images_file: Path, labels_file: Path) -> Images:
    pixels, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(pixels) != len(labels):
        raise CimsimError(
            f"{images_file} has {len(pixels)} images, but {labels_file.name} has {len(labels)} "
            "labels; use files of the same data set"
        )
    return Images(pixels[:, None], labels.astype(np.int64))


def _fetch(base_url: str, checksums: dict[str, str], missing: Sequence[str], folder: Path) -> None:
    for stem in missing:
        download(f"{base_url}/{stem}.gz", checksums[stem], folder / f"{stem}.gz")


def _layout(name: str, folder: str, base_url: str, *checksums: str) -> Layout:
    return Layout(
        name=name,
        folders=(f"{folder}/raw", name, "."),
        stems=STEMS,
        suffixes=(".gz", ""),
        fetch=partial(_fetch, base_url, dict(zip(STEMS, checksums, strict=True))),
    )


# SHA-256 of the .gz files as published by their authors (Y. LeCun, C. Cortes, C. J. C. Burges,
# "The MNIST database", 1998), from PyTorch's mirror because the authors' server refuses downloads.
MNIST = _layout(
    "mnist",
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)

# H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
# Learning Algorithms", arXiv:1708.07747, 2017. Its server supports only plain HTTP; the checksums
# ensure integrity.
FASHION_MNIST = _layout(
    "fashion-mnist",
    "FashionMNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
