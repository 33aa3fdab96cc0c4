"""Arrays in ``.npz``, ``.pt`` and ``.safetensors`` files."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.suggest import listed
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.reader import (
    LARGEST,
    Reader,
    Seed,
    Share,
    TaskName,
    content_of,
    too_large,
)
from cimsim.training.data.own.samples import Samples, data_set

Array = NDArray[Any]

_PARTS = (("train_x", "train_y", "test_x", "test_y"), ("x_train", "y_train", "x_test", "y_test"))


class Arrays(Reader):
    """``.npz``, ``.pt`` or ``.safetensors`` with the arrays ``x`` and ``y``, or ``train_x``,
    ``train_y``, ``test_x`` and ``test_y``.

    ``x`` and ``y`` name other arrays. A ``.pt`` file contains a dictionary of tensors, or the pair
    ``(x, y)``; it is read without pickled objects.
    """

    name: ClassVar[str] = "arrays"

    def __init__(
        self,
        x: str = "x",
        y: str = "y",
        test: Share = 0.2,
        seed: Seed = 0,
        task: TaskName | None = None,
    ) -> None:
        self.x, self.y, self.test, self.seed, self.task = x, y, test, seed, task

    def read(self, path: Path) -> DataSet:
        """See :class:`Reader`."""
        content = content_of(path)
        arrays = _READERS[path.suffix.lower()](content, path)
        try:
            train, test = self._parts(arrays)
            return data_set(path.stem, train, test, task=self.task, share=self.test, seed=self.seed)
        except CimsimError as error:
            raise CimsimError(f"{path}: {error}") from None

    def _parts(self, arrays: Mapping[str, Array]) -> tuple[Samples, Samples | None]:
        for names in _PARTS:
            if all(name in arrays for name in names):
                train_x, train_y, test_x, test_y = (arrays[name] for name in names)
                return Samples(train_x, train_y), Samples(test_x, test_y)
        missing = [name for name in (self.x, self.y) if name not in arrays]
        if missing:
            raise CimsimError(
                f"there is no array '{missing[0]}' among {listed(arrays)}; expected x and y, or "
                "train_x, train_y, test_x and test_y, or name them with :x=NAME,y=NAME"
            )
        return Samples(arrays[self.x], arrays[self.y]), None


def _read_npz(content: bytes, path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > LARGEST:
                raise too_large(path)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise CimsimError(
                f"{path} contains Python objects, which can run code; save arrays of numbers "
                "instead (dtype=object occurs for rows of different lengths)"
            ) from None
        raise CimsimError(f"{path} is not a readable .npz file: {error}") from None
    return _with_rows(arrays, path)


def _read_pt(content: bytes, path: Path) -> dict[str, Array]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about old formats
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CimsimError(
            f"{path} contains Python objects other than tensors, which can run code; save a "
            "dictionary of tensors: torch.save({'x': x, 'y': y}, …)"
        ) from None
    except Exception as error:  # torch.load raises many kinds of exceptions for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CimsimError(f"{path} is not a readable .pt file: {reason}") from None
    if isinstance(saved, tuple | list) and len(saved) == 2:
        saved = dict(zip(("x", "y"), saved, strict=True))
    if not isinstance(saved, Mapping) or not all(isinstance(v, Tensor) for v in saved.values()):
        raise CimsimError(
            f"{path} must contain a dictionary of tensors or the pair (x, y), not a "
            f"{type(saved).__name__}"
        )
    return _with_rows({str(name): to_numpy(tensor) for name, tensor in saved.items()}, path)


def _read_safetensors(content: bytes, path: Path) -> dict[str, Array]:
    try:
        tensors = load_safetensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CimsimError(f"{path} is not a readable .safetensors file: {error}") from None
    return _with_rows({name: to_numpy(tensor) for name, tensor in tensors.items()}, path)


def to_numpy(tensor: Tensor) -> Array:
    """Return a tensor as an array; 16-bit floats become 32-bit ones."""
    tensor = tensor.detach().cpu()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return np.asarray(tensor.resolve_conj().resolve_neg().numpy())


def _with_rows(arrays: dict[str, Array], path: Path) -> dict[str, Array]:
    for name, array in arrays.items():
        if array.ndim == 0:
            raise CimsimError(f"{path}: the array '{name}' is a single number")
    return arrays


_READERS = {
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".safetensors": _read_safetensors,
}
