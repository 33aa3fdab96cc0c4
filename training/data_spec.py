"""The text that names data: a shipped name, a file or folder, or ``package.module:function``.

A file or folder may be followed by settings: ``table.csv:label=quality,test=0.2``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath
from typing import Literal, NamedTuple, TypeAlias

from cimsim.folders import expanded

NAMES: tuple[str, ...] = (
    "digits",
    "mnist",
    "fashion-mnist",
    "cifar10",
    "fsdd",
    "tinyshakespeare",
    "wikitext-2",
)
"""Names of the data sets that cimsim reads itself."""

SUFFIXES = (".npz", ".pt", ".pth", ".safetensors", ".csv", ".tsv", ".txt")
"""Suffixes of files that data are read from."""

Form: TypeAlias = Literal["images", "vectors", "text"]
"""Form of the inputs of a model: [N, C, H, W], [N, F], or symbols [N, T]."""

# The first colon before a setting; so a place may contain other colons, such as C:\photos.
_SETTINGS = re.compile(r":(?=[a-z_]+=)")


class DataSpec(NamedTuple):
    """A place (or name, or function) and the text of its settings."""

    place: str
    settings: str


def split_spec(spec: str) -> DataSpec:
    """Separate the settings from the place.

    >>> split_spec("table.csv:label=quality,test=0.2")
    DataSpec(place='table.csv', settings='label=quality,test=0.2')
    >>> split_spec("C:/photos:size=32").place
    'C:/photos'
    """
    place, _, settings = _SETTINGS.sub("\0", spec, count=1).partition("\0")
    return DataSpec(place, settings)


def is_function(spec: str) -> bool:
    """Return whether ``spec`` names a user-defined function.

    >>> is_function("my_data:flowers"), is_function("C:/photos"), is_function("digits")
    (True, False, False)
    """
    place = split_spec(spec).place
    module, colon, function = place.partition(":")
    return bool(colon) and function.isidentifier() and not _looks_like_path(module)


def is_path(spec: str) -> bool:
    """Return whether ``spec`` names a file or folder.

    >>> is_path("photos/"), is_path("table.csv:label=quality"), is_path("digits")
    (True, True, False)
    """
    place = split_spec(spec).place
    if place in NAMES or is_function(spec):
        return False
    return _looks_like_path(place) or os.path.lexists(place)


def absolute(spec: str, data_dir: Path | str | None = None) -> str:
    """Return ``spec`` with an absolute path, as a run keeps it; other specs are unchanged.

    A relative path is searched in ``data_dir`` first, then in the working folder.
    """
    if not is_path(spec):
        return spec
    place, settings = split_spec(spec)
    path = expanded(place)
    if path.is_absolute():
        return _joined(path, settings)
    if PureWindowsPath(place).is_absolute():
        return spec  # in a run from Windows
    inside = None if data_dir is None else expanded(data_dir) / path
    found = inside if inside is not None and inside.exists() else path
    return _joined(Path(os.path.abspath(found)), settings)


def place_of(spec: str, data_dir: Path | str | None = None) -> Path:
    """Return the file or folder of ``spec``.

    This is the entry of the same name in ``data_dir`` if there is one, so that data can be moved.
    """
    path = expanded(split_spec(spec).place)
    if data_dir is not None:
        folder = expanded(data_dir)
        for moved in (folder / path, folder / path.name):
            if moved.exists():
                return moved
    return path


def _joined(path: Path, settings: str) -> str:
    return f"{path}:{settings}" if settings else str(path)


def _looks_like_path(text: str) -> bool:
    marks = (
        PureWindowsPath(text).is_absolute(),
        os.sep in text,
        "/" in text,
        text in (".", ".."),
        text.startswith("~"),
        text.lower().endswith(SUFFIXES),
    )
    return any(marks)
