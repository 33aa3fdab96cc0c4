"""Checkpoints: the state of an unfinished run, sufficient to resume it exactly.

A checkpoint is one file. For sharded parameters it contains only shapes and the name of a folder
next to it, in which each process has stored its shards. The folder is complete on disk before the
new file replaces the old one, so the file and its folder are consistent even if a process is
killed.

The file ends with its SHA-256 as the comment of the zip archive that ``torch.save`` writes, and it
contains the hashes of the shards.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.files import readable_name, replacing, sha256_of
from cimsim.training.manifest import has_sums
from cimsim.training.parallel import Ranks
from cimsim.training.sharding import is_part

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_PARTS = ".parts"
_PARTS_NAME = re.compile(rf"checkpoint-\d+-\d+{re.escape(_PARTS)}")
_ZIP_END, _NO_COMMENT = b"PK\5\6", b"\0\0"  # start and end of the last record of a zip archive
_MARK = b"sha256="
_COMMENT_BYTES = len(_MARK) + 64
_BLOCK = 1 << 20


@dataclass
class Checkpoint:
    """State of a run after ``step`` batches of epoch ``epoch``.

    Attributes:
        sums: running loss, correct predictions and samples of that epoch, and sum and number of its
            audits.
        average: averaged parameters, empty if none are kept.
        curvature: mean squared gradients, empty if none are kept.
        rng: torch's global CPU random state of every process, for models that use it (dropout).
        parts: folder of the sharded tensors, empty if there are none.
        parts_sha256: hashes of the files in ``parts``.
        plateau: state of the :class:`cimsim.training.plateau.PlateauWatch`.
        run: hash of everything that determines the run.
        metrics_sha256: hash of the lines of the finished epochs. This and ``run`` are empty in
            checkpoints of versions without hashes.
    """

    epoch: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)]
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    sums: Tensor
    average: list[Tensor]
    curvature: list[Tensor]
    rng: list[Tensor]
    parts: str = ""
    parts_sha256: dict[str, str] = field(default_factory=dict)
    plateau: list[Tensor] = field(default_factory=list)
    run: str = ""
    metrics_sha256: str = ""


_STRICT = ConfigDict(arbitrary_types_allowed=True, strict=True, extra="forbid")
_Content: type[BaseModel] = create_model(  # type: ignore[call-overload]
    "_Content",
    __config__=_STRICT,
    **{
        entry.name: (
            get_type_hints(Checkpoint, include_extras=True)[entry.name],
            ... if entry.default is entry.default_factory is MISSING else None,
        )
        for entry in fields(Checkpoint)
    },
)
"""Pydantic model of :class:`Checkpoint`, to validate a loaded file."""


def save_checkpoint(checkpoint: Checkpoint, path: Path, ranks: Ranks) -> None:
    """Write ``checkpoint`` to ``path`` atomically; all processes must call this together.

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
    if parts:
        content["parts_sha256"] = _hashes(path.with_name(content["parts"]))
    with replacing(path) as temporary, temporary.open("rb+") as file:
        _save_hashed(content, file)
    _remove_parts(path, but=content["parts"])


class _Hashed:
    """A file wrapper for ``torch.save`` that hashes the content.

    It also stores the error of a full disk, which torch replaces by another exception.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _save_hashed(content: Any, file: IO[bytes]) -> None:
    """Write ``content`` with ``torch.save`` and append its hash as the archive's comment."""
    hashed = _Hashed(file)
    try:
        torch.save(content, hashed)  # type: ignore[arg-type]  # it only writes and flushes
    except RuntimeError:
        if hashed.error is not None:
            raise hashed.error from None
        raise
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    file.write(_comment(hashed.digest.hexdigest()))
    file.flush()


def _comment(sha256: str) -> bytes:
    return struct.pack("<H", _COMMENT_BYTES) + _MARK + sha256.encode()


def _load_hashed(path: Path, device: torch.device) -> Any:
    """Load a file of :func:`_save_hashed`, or of ``torch.save`` in a run without hashes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail_bytes = len(_NO_COMMENT) + _COMMENT_BYTES
        file.seek(max(size - tail_bytes, 0))
        tail = file.read()
        if _MARK in tail:
            if tail != _comment(_sha256_without(file, size - tail_bytes)):
                raise OSError("its SHA-256 does not match the one stored at its end")
        elif has_sums(path.parent):
            raise OSError("the SHA-256 at its end is missing")
        elif not (tail[-22:].startswith(_ZIP_END) and tail.endswith(_NO_COMMENT)):
            raise OSError("its end is missing")
        file.seek(0)
        return torch.load(file, map_location=device, weights_only=True)


def _sha256_without(file: IO[bytes], count: int) -> str:
    """Return the hash of the archive without its comment, which follows ``count`` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while count > 0 and (block := file.read(min(_BLOCK, count))):
        digest.update(block)
        count -= len(block)
    digest.update(_NO_COMMENT)
    return digest.hexdigest()


def load_checkpoint(path: Path, device: torch.device, mesh: DeviceMesh | None = None) -> Checkpoint:
    """Load a checkpoint of :func:`save_checkpoint`; tensors and plain containers only, no code.

    Sharded tensors, written by any number of processes, are sharded over ``mesh``, or are whole
    without a mesh.

    Raises:
        CimsimError: if a file is damaged or is not a checkpoint.
    """
    try:
        content = _load_hashed(path, device)
        _check_kinds(content)
        parts: dict[str, Tensor] = {}
        checkpoint = Checkpoint(**_with_parts(content, parts, device, mesh))
        if parts:
            folder = _folder_of_parts(path, checkpoint)
            if len(list(folder.glob("*.safetensors"))) != len(checkpoint.rng):
                raise OSError(f"a shard is missing in {folder.name}")  # torch does not check this
            if checkpoint.parts_sha256 and _hashes(folder) != checkpoint.parts_sha256:
                raise OSError(f"a shard in {folder.name} is damaged: its SHA-256 does not match")
            with readable_name(folder) as readable:
                _load_parts(parts, readable, alone=mesh is None)
        return checkpoint
    except Exception as error:  # torch's reader raises many kinds of exceptions for a damaged file
        raise unreadable(path, error) from None


def unreadable(path: Path, reason: object) -> CimsimError:
    """Return the error for a checkpoint that cannot be resumed from."""
    first = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    return CimsimError(
        f"{path} is not a readable checkpoint ({first}); remove it to restart the run"
    )


def _check_kinds(content: Any) -> None:
    """Check that ``content`` has the fields and types of a :class:`Checkpoint`.

    Raises:
        ValueError: naming the field, if it does not.
    """
    try:
        _Content.model_validate(content)
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}") from None


def _folder_of_parts(path: Path, checkpoint: Checkpoint) -> Path:
    if not _PARTS_NAME.fullmatch(checkpoint.parts):
        raise ValueError(f"{checkpoint.parts!r} is not a valid name of a folder of shards")
    return path.with_name(checkpoint.parts)


def _hashes(folder: Path) -> dict[str, str]:
    return {part.name: sha256_of(part) for part in sorted(folder.glob("*.safetensors"))}


def check_state(new: Mapping[Any, Any], saved: Mapping[Any, Any], of: str = "") -> None:
    """Check that a saved state has the names, shapes and dtypes of the ``new`` one.

    Raises:
        ValueError: naming the first difference.
    """
    if new.keys() != saved.keys():
        differs = sorted(map(str, new.keys() ^ saved.keys()))[0]
        raise ValueError(f"{of}{differs} is only in one of the two states")
    for name, value in new.items():
        other = saved[name]
        if not isinstance(value, Tensor):
            continue
        if not isinstance(other, Tensor):
            raise ValueError(f"{of}{name} is not a tensor")
        if (value.shape, value.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"{of}{name} is {other.dtype}{list(other.shape)}, not "
                f"{value.dtype}{list(value.shape)}"
            )


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint and its folder of shards."""
    _remove_parts(path)
    path.unlink(missing_ok=True)


def _remove_parts(path: Path, but: str = "") -> None:
    for folder in path.parent.glob(f"{path.stem}-*{_PARTS}"):
        if folder.name != but:
            _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    if folder.is_symlink():  # its target may contain other data
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _without_parts(tree: Any, parts: dict[str, Tensor]) -> Any:
    """Replace sharded tensors of ``tree`` by empty meta tensors and store them in ``parts``."""
    held: set[int] = set()

    def left(leaf: Any, name: str) -> Any:
        if not is_part(leaf):
            return leaf
        memory = leaf.to_local().data_ptr()
        parts[name] = leaf.clone() if memory in held else leaf  # safetensors rejects shared memory
        held.add(memory)
        return torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")

    return _mapped(tree, left)


def _with_parts(
    tree: Any, parts: dict[str, Tensor], device: torch.device, mesh: DeviceMesh | None
) -> Any:
    """Inverse of :func:`_without_parts`; the tensors in ``parts`` are still to be filled."""

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
    """Apply ``change(value, name)`` to all leaves of nested dictionaries and lists."""
    if isinstance(tree, dict):
        return {key: _mapped(value, change, f"{name}/{key}") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_mapped(value, change, f"{name}/{at}") for at, value in enumerate(tree)]
    return change(tree, name)


def _save_parts(parts: dict[str, Tensor], folder: Path, ranks: Ranks) -> None:
    """Write the shards of this process as safetensors, because torch's other format is pickle."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    if ranks.first:
        _remove_folder(folder)  # left over from a killed process
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
        with warnings.catch_warnings():  # torch warns if there is one process
            warnings.simplefilter("ignore", UserWarning)
            load(parts, storage_reader=reader, no_dist=alone)
    except CheckpointException as error:
        raise OSError(f"{folder.name}: {_first(error)}") from None


def _first(error: Any) -> str:
    """Return the error message of the first process that failed."""
    reason, _ = next(iter(error.failures.values()))
    return str(reason).strip().splitlines()[0] if str(reason) else type(reason).__name__
