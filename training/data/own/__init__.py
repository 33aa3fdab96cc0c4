"""Data of the user: a folder of images, arrays, a table, a text or a Hugging Face data set.

Each form is a :class:`~cimsim.training.data.own.reader.Reader`, whose constructor arguments are its
settings: ``table.csv:label=quality,test=0.2``.
"""

from __future__ import annotations

import os
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.spec import build
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.arrays import Arrays
from cimsim.training.data.own.hugging_face import MARKS, HuggingFaceFolder
from cimsim.training.data.own.image_folder import ImageFolder
from cimsim.training.data.own.reader import Reader
from cimsim.training.data.own.table import Table
from cimsim.training.data.own.text_file import TextFile
from cimsim.training.data_spec import SUFFIXES, place_of, split_spec

_FILES: dict[str, type[Reader]] = {
    ".npz": Arrays,
    ".pt": Arrays,
    ".pth": Arrays,
    ".safetensors": Arrays,
    ".csv": Table,
    ".tsv": Table,
    ".txt": TextFile,
}

READERS: tuple[type[Reader], ...] = (ImageFolder, Arrays, Table, TextFile, HuggingFaceFolder)


def read_own(spec: str, data_dir: Path | str | None = None) -> DataSet:
    """Read the data that ``spec`` names, from ``data_dir`` if they were moved there.

    Raises:
        CimsimError: if they do not exist, cannot be read, or have no labels to learn.
    """
    path = place_of(spec, data_dir)
    reader = build(_reader_of(path), split_spec(spec).settings, f"data '{spec}'")
    try:
        return reader.read(path)
    except MemoryError:
        raise CimsimError(f"{path} does not fit into memory; use a part of it") from None


def _reader_of(path: Path) -> type[Reader]:
    """
    Raises:
        CimsimError: if there is nothing at ``path``, or a file of another kind.
    """
    try:
        exists, is_folder = path.exists(), path.is_dir()
        names = os.listdir(path) if is_folder else []
    except OSError as error:
        raise CimsimError(f"cannot read {path}: {error.strerror}") from None
    if not exists:
        raise CimsimError(
            f"no such file or folder of data: {path}; if it was moved, set its folder with "
            "--data-dir, and settings as PATH:key=value"
        )
    if is_folder:
        return HuggingFaceFolder if any(mark in names for mark in MARKS) else ImageFolder
    if path.suffix.lower() not in _FILES:
        raise CimsimError(
            f"{path} is not data of a known kind; use a folder of images in classes, or a file "
            f"that ends with {', '.join(SUFFIXES)}"
        )
    return _FILES[path.suffix.lower()]


__all__ = ["READERS", "read_own"]
