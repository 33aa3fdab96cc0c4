"""The weights and ranges of a model as a safetensors file."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.files import readable_name, replacing

_OS_ERROR = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+),")


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the model's tensors as safetensors, atomically.

    Raises:
        CimsimError: if an entry of the state is not a tensor, the disk is full, or the folder
            cannot be written.
    """
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise CimsimError(
                f"cannot write {path}: '{name}' of the model's state is a {type(value).__name__}, "
                "and only tensors can be saved; return a tensor from get_extra_state"
            )
    with replacing(path) as temporary:
        try:
            save_model(model, str(temporary))
        except SafetensorError as error:  # also raised for a full disk
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> OSError:
    """Return the OSError that safetensors reports as text.

    The text contains ``… (os error 28)``, or ``Os { code: 28, …`` in old versions.
    """
    if match := _OS_ERROR.search(str(error)):
        number = int(match[1] or match[2])
        return OSError(number, os.strerror(number))
    return OSError(errno.EIO, str(error))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file that :func:`save_weights` has written.

    Raises:
        CimsimError: if the file is missing or damaged.
    """
    try:
        with readable_name(path) as readable:
            return load_file(readable)
    except Exception as error:  # safetensors raises several kinds of exceptions
        raise CimsimError(f"{path} does not contain this model's weights: {error}") from None


def load_state(model: nn.Module, state: dict[str, Tensor], strict: bool = True) -> list[str]:
    """Load ``state`` and return the sorted names of the model's tensors that it lacks.

    A tensor that the model has under several names occurs once in ``state``.

    Raises:
        RuntimeError: for a tensor of another shape or dtype, and if ``strict`` for a name that only
            one of them has.
    """
    own = model.state_dict()
    for name, tensor in state.items():
        if name in own and own[name].dtype != tensor.dtype:
            raise RuntimeError(f"'{name}' has dtype {tensor.dtype}, not {own[name].dtype}")
    missing, unexpected = model.load_state_dict(state, strict=False)
    held = {own[name].data_ptr() for name in state if name in own and own[name].numel()}
    missing = sorted(name for name in missing if own[name].data_ptr() not in held)
    if strict and (missing or unexpected):
        what = f"it has no '{missing[0]}'" if missing else f"it has '{sorted(unexpected)[0]}'"
        raise RuntimeError(what)
    return missing
