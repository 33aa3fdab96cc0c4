"""The state of a run that is under way: enough to go on as if nothing had happened.

One file. Of parameters that are shared out it holds shapes only, and the name of a folder beside it
where each process has put its parts. The folder is on the disk before the file takes the place of
the one before, so whatever is killed, the file and what it names are whole.
"""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.files import readable_name, replacing
from cimsim.training.parallel import Ranks
from cimsim.training.sharding import is_part

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_PARTS = ".parts"


@dataclass
class Checkpoint:
    """Where the run stands: ``step`` batches of epoch ``epoch`` are done.

    ``sums`` are the running loss, right answers and images of that epoch, and sum and number of its
    audits; ``average`` are averaged parameters and ``curvature`` their
    mean squared gradients, empty if none are kept; ``rng`` is torch's global
    CPU state of every process, for models that use it (dropout). ``parts`` is the folder of the
    tensors that are shared out, empty if there are none.
    """

    epoch: int
    step: int
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    sums: Tensor
    average: list[Tensor]
    curvature: list[Tensor]
    rng: list[Tensor]
    parts: str = ""


def save_checkpoint(checkpoint: Checkpoint, path: Path, ranks: Ranks) -> None:
    """Write ``checkpoint`` so that ``path`` is always a whole one; all processes do it together.

    Raises:
        CimsimError: if the disk is full or the folder cannot be written.
    """
    parts: dict[str, Tensor] = {}
    content = _without_parts(vars(checkpoint), parts)
    if parts:
        content["parts"] = f"{path.stem}-{checkpoint.epoch}-{checkpoint.step}{_PARTS}"
        _save_parts(parts, path.with_name(content["parts"]), ranks)
    if not ranks.first:
        return
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch's writer reports a full disk
            raise OSError(f"the checkpoint could not be written ({error})") from error
    _remove_parts(path, but=content["parts"])


def load_checkpoint(path: Path, device: torch.device, mesh: DeviceMesh | None = None) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; tensors and plain containers only, no code.

    What was shared out by any number of processes is shared out over ``mesh``, or whole if there is
    none.

    Raises:
        CimsimError: if a file is damaged or something else.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        parts: dict[str, Tensor] = {}
        checkpoint = Checkpoint(**_with_parts(content, parts, device, mesh))
        if parts:
            folder = path.with_name(checkpoint.parts)
            if len(list(folder.glob("*.safetensors"))) != len(checkpoint.rng):
                raise OSError(f"a part is missing in {folder.name}")  # torch would not notice
            with readable_name(folder) as readable:
                _load_parts(parts, readable, alone=mesh is None)
        return checkpoint
    except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CimsimError(
            f"{path} is not a readable checkpoint ({first}); remove it to start the run anew"
        ) from None


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint and what belongs to it."""
    _remove_parts(path)
    path.unlink(missing_ok=True)


def _remove_parts(path: Path, but: str = "") -> None:
    for folder in path.parent.glob(f"{path.stem}-*{_PARTS}"):
        if folder.name != but:
            shutil.rmtree(folder, ignore_errors=True)


def _without_parts(tree: Any, parts: dict[str, Tensor]) -> Any:
    """``tree`` with an empty tensor on the meta device for each that is shared out; those go into
    ``parts``."""
    held: set[int] = set()

    def left(leaf: Any, name: str) -> Any:
        if not is_part(leaf):
            return leaf
        memory = leaf.to_local().data_ptr()
        parts[name] = leaf.clone() if memory in held else leaf  # safetensors writes none twice
        held.add(memory)
        return torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")

    return _mapped(tree, left)


def _with_parts(
    tree: Any, parts: dict[str, Tensor], device: torch.device, mesh: DeviceMesh | None
) -> Any:
    """Inverse of :func:`_without_parts`, with tensors that are to be filled."""

    def filled(leaf: Any, name: str) -> Any:
        if not (isinstance(leaf, Tensor) and leaf.is_meta):
            return leaf
        parts[name] = torch.empty_like(leaf, device=device)
        if mesh is not None:
            from torch.distributed.tensor import Shard, empty

            layout: dict[str, Any] = {"device_mesh": mesh, "placements": [Shard(0)]}
            parts[name] = empty(leaf.shape, dtype=leaf.dtype, **layout)
        return parts[name]

    return _mapped(tree, filled)


def _mapped(tree: Any, change: Callable[[Any, str], Any], name: str = "") -> Any:
    """Dictionaries and lists as they are, everything in them by ``change(value, name)``."""
    if isinstance(tree, dict):
        return {key: _mapped(value, change, f"{name}/{key}") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_mapped(value, change, f"{name}/{at}") for at, value in enumerate(tree)]
    return change(tree, name)


def _save_parts(parts: dict[str, Tensor], folder: Path, ranks: Ranks) -> None:
    """Each process its own, as safetensors: torch's other format is pickled."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    if ranks.first:
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
    ranks.wait()
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(parts, storage_writer=writer)
    except CheckpointException as error:
        raise CimsimError(f"cannot write {folder}: {_first(error)}") from None


def _load_parts(parts: dict[str, Tensor], folder: Path, alone: bool) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():  # it remarks that there is one process
            warnings.simplefilter("ignore", UserWarning)
            load(parts, storage_reader=reader, no_dist=alone)
    except CheckpointException as error:
        raise OSError(f"{folder.name}: {_first(error)}") from None


def _first(error: Any) -> str:
    """The first process's reason."""
    reason, _ = next(iter(error.failures.values()))
    return str(reason).strip().splitlines()[0] if str(reason) else type(reason).__name__
