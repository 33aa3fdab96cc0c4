"""Base class of the readers of the user's data, and their common settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.errors import CimsimError
from cimsim.reading import read_bytes
from cimsim.training.data.dataset import DataSet

LARGEST = 4 * 2**30
"""Largest size of data, in bytes, since they are loaded into memory."""

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
TaskName = Literal["classification", "regression"]


class Reader(ABC):
    """One form of data; the constructor arguments are the settings.

    Attributes:
        name: name of the form.
    """

    name: ClassVar[str]

    @abstractmethod
    def read(self, path: Path) -> DataSet:
        """Read the data at ``path``.

        Raises:
            CimsimError: if they cannot be read, or are not data to learn from.
        """


def content_of(path: Path) -> bytes:
    """Return the content of a file of at most :data:`LARGEST` bytes.

    Raises:
        CimsimError: if it cannot be read or is larger.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise too_large(path)
        return read_bytes(path, LARGEST)
    except OSError as error:
        raise CimsimError(f"cannot read {path}: {error.strerror}") from None


def too_large(path: Path) -> CimsimError:
    """Return the error for data that are too large."""
    return CimsimError(
        f"{path} is larger than {LARGEST // 2**30} GiB, and data are loaded into memory; use a "
        "part of it"
    )
