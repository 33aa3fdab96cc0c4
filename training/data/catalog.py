"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.suggest import unknown
from cimsim.training.data.cifar10 import read_cifar10
from cimsim.training.data.dataset import DataSet, Images, normalized
from cimsim.training.data.digits import read_digits
from cimsim.training.data.layout import data_folder
from cimsim.training.data.mnist import FASHION_MNIST, MNIST, read_mnist
from cimsim.training.data.own import read_own
from cimsim.training.data.own.function import read_function
from cimsim.training.data.spoken_digits import read_spoken_digits
from cimsim.training.data.text import read_tiny_shakespeare, read_wikitext_2
from cimsim.training.data_spec import NAMES, is_function, is_path

_CLASSES = 10
_TEXTS: dict[str, Callable[[Path, bool], DataSet]] = {
    "tinyshakespeare": read_tiny_shakespeare,
    "wikitext-2": read_wikitext_2,
}
_READERS: dict[str, Callable[[Path, bool], tuple[Images, Images]]] = {
    "digits": lambda data_dir, download: read_digits(),
    "mnist": partial(read_mnist, MNIST),
    "fashion-mnist": partial(read_mnist, FASHION_MNIST),
    "cifar10": read_cifar10,
    "fsdd": read_spoken_digits,
}

# The two data sets have the same file names and are easily confused.
_PUBLISHED = {
    "e0130f111822ed58de3ba94ad450971c80ee446d2ff4d08e2b4c8e8be16eae50": "mnist",
    "a06d3266794aa0147787f49603795ec5e8a32fac55270d9b4ac38d415b342e8c": "fashion-mnist",
}

_WITHOUT_FILES = ("digits",)

DATASETS: tuple[str, ...] = NAMES


def has_folder(name: str) -> bool:
    """Return whether the data set ``name`` is read from the folder of data.

    >>> has_folder("mnist"), has_folder("digits"), has_folder("my_data:flowers")
    (True, False, False)
    """
    return name not in _WITHOUT_FILES and not is_function(name)


def load_data(name: str, data_dir: Path | str | None = None, download: bool = False) -> DataSet:
    """Load the data set ``name`` into memory and normalize it.

    Args:
        name: one of ``DATASETS``, all of which except ``digits`` need files; or own data, see
            :mod:`cimsim.training.data.own`.
        data_dir: folder of the files in torchvision's layout (``MNIST/raw``,
            ``FashionMNIST/raw``, ``cifar-10-batches-py``), in ``fsdd``, ``tinyshakespeare`` or
            ``wikitext-2``, or directly; default: ``$CIMSIM_DATA``, then ``~/.cache/cimsim``. For
            own data, the folder that they were moved to.
        download: download missing files from the official source and verify their SHA-256.

    Raises:
        CimsimError: if the data set is unknown, or if files are missing, unreadable, damaged or
            those of another data set.

    >>> load_data("digits").input_shape
    (1, 8, 8)
    """
    if is_function(name):
        return read_function(name)
    if is_path(name):
        return read_own(name, data_dir)
    if name not in DATASETS:
        raise CimsimError(unknown("data set", name, DATASETS))
    folder = Path() if name in _WITHOUT_FILES else data_folder(data_dir)
    if name in _TEXTS:
        return _TEXTS[name](folder, download)
    train, test = _READERS[name](folder, download)
    data = normalized(name, train, test, _CLASSES)
    published = _PUBLISHED.get(data.fingerprint, name)
    if published != name:
        raise CimsimError(f"the {name} files in {folder} contain {published}")
    return data
