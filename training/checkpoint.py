"""The state of a run that is under way: enough to go on as if nothing had happened.

One file. Of parameters that are shared out it holds shapes only, and the name of a folder beside it
where each process has put its parts. The folder is on the disk before the file takes the place of
the one before, so whatever is killed, the file and what it names are whole.

The file ends with its own SHA-256, as the comment of the zip archive that ``torch.save`` writes,
and it holds those of the parts.
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
from cimsim.training.files import readable_name, replacing, sha256_of
from cimsim.training.manifest import has_sums
from cimsim.training.parallel import Ranks
from cimsim.training.sharding import is_part

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_PARTS = ".parts"
_PARTS_NAME = re.compile(rf"checkpoint-\d+-\d+{re.escape(_PARTS)}")
_ZIP_END, _NO_COMMENT = b"PK\5\6", b"\0\0"  # of an archive: its last record, and that one's end
_MARK = b"sha256="
_COMMENT_BYTES = len(_MARK) + 64
_BLOCK = 1 << 20


@dataclass
class Checkpoint:
    """Where the run stands: ``step`` batches of epoch ``epoch`` are done.

    ``sums`` are the running loss, right answers and images of that epoch, and sum and number of its
    audits; ``average`` are averaged parameters and ``curvature`` their
    mean squared gradients, empty if none are kept; ``rng`` is torch's global
    CPU state of every process, for models that use it (dropout). ``parts`` is the folder of the
    tensors that are shared out, empty if there are none, and ``parts_sha256`` the hashes of its
    files. ``plateau`` is the state of the :class:`cimsim.training.plateau.PlateauWatch`. ``run`` is
    the hash of all that decides the run, and ``metrics_sha256`` that of the lines of its finished
    epochs; both are empty in checkpoints from before there were hashes.
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
"""The fields of a :class:`Checkpoint`, to check what was read."""


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
    if parts:
        content["parts_sha256"] = _hashes(path.with_name(content["parts"]))
    with replacing(path) as temporary, temporary.open("rb+") as file:
        _save_hashed(content, file)
    _remove_parts(path, but=content["parts"])


class _Hashed:
    """A file that ``torch.save`` writes to. It keeps the hash of what is written, and the fault of
    a full disk, which torch reports as another one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.fault = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _save_hashed(content: Any, file: IO[bytes]) -> None:
    """Write ``content`` as torch does, and its hash behind it, where archives have a comment."""
    hashed = _Hashed(file)
    try:
        torch.save(content, hashed)  # type: ignore[arg-type]  # it only writes and flushes
    except RuntimeError:
        if hashed.fault is not None:
            raise hashed.fault from None
        raise
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    file.write(_comment(hashed.digest.hexdigest()))
    file.flush()


def _comment(sha256: str) -> bytes:
    return struct.pack("<H", _COMMENT_BYTES) + _MARK + sha256.encode()


def _load_hashed(path: Path, device: torch.device) -> Any:
    """Read what :func:`_save_hashed` wrote, or ``torch.save`` alone, in a run without hashes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail_bytes = len(_NO_COMMENT) + _COMMENT_BYTES
        file.seek(max(size - tail_bytes, 0))
        tail = file.read()
        if _MARK in tail:
            if tail != _comment(_sha256_without(file, size - tail_bytes)):
                raise OSError("its SHA-256 is not the one at its end")
        elif has_sums(path.parent):
            raise OSError("its SHA-256 is missing at its end")
        elif not (tail[-22:].startswith(_ZIP_END) and tail.endswith(_NO_COMMENT)):
            raise OSError("its end is missing")
        file.seek(0)
        return torch.load(file, map_location=device, weights_only=True)


def _sha256_without(file: IO[bytes], count: int) -> str:
    """The hash of the archive without its comment; ``count`` bytes come before that."""
    digest = hashlib.sha256()
    file.seek(0)
    while count > 0 and (block := file.read(min(_BLOCK, count))):
        digest.update(block)
        count -= len(block)
    digest.update(_NO_COMMENT)
    return digest.hexdigest()


def load_checkpoint(path: Path, device: torch.device, mesh: DeviceMesh | None = None) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; tensors and plain containers only, no code.

    What was shared out by any number of processes is shared out over ``mesh``, or whole if there is
    none.

    Raises:
        CimsimError: if a file is damaged or something else.
    """
    try:
        content = _load_hashed(path, device)
        _check_kinds(content)
        parts: dict[str, Tensor] = {}
        checkpoint = Checkpoint(**_with_parts(content, parts, device, mesh))
        if parts:
            folder = _folder_of_parts(path, checkpoint)
            if len(list(folder.glob("*.safetensors"))) != len(checkpoint.rng):
                raise OSError(f"a part is missing in {folder.name}")  # torch would not notice
            if checkpoint.parts_sha256 and _hashes(folder) != checkpoint.parts_sha256:
                raise OSError(f"a part in {folder.name} is damaged: its SHA-256 is another one")
            with readable_name(folder) as readable:
                _load_parts(parts, readable, alone=mesh is None)
        return checkpoint
    except Exception as error:  # torch's reader fails in every possible way on what is no archive
        raise unreadable(path, error) from None


def unreadable(path: Path, reason: object) -> CimsimError:
    """The sentence for a checkpoint from which no run can go on."""
    first = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    return CimsimError(
        f"{path} is not a readable checkpoint ({first}); remove it to start the run anew"
    )


def _check_kinds(content: Any) -> None:
    """Refuse other fields than those of a :class:`Checkpoint`, and values of another type.

    Raises:
        ValueError: which names the field.
    """
    try:
        _Content.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None


def _folder_of_parts(path: Path, checkpoint: Checkpoint) -> Path:
    if not _PARTS_NAME.fullmatch(checkpoint.parts):
        raise ValueError(f"{checkpoint.parts!r} is no folder of parts")
    return path.with_name(checkpoint.parts)


def _hashes(folder: Path) -> dict[str, str]:
    return {part.name: sha256_of(part) for part in sorted(folder.glob("*.safetensors"))}


def check_state(new: Mapping[Any, Any], saved: Mapping[Any, Any], of: str = "") -> None:
    """Refuse a saved state whose names, shapes or dtypes are not those of the ``new`` one.

    Raises:
        ValueError: which names what differs.
    """
    if new.keys() != saved.keys():
        differs = sorted(map(str, new.keys() ^ saved.keys()))[0]
        raise ValueError(f"{of}{differs} is in one of them only")
    for name, value in new.items():
        other = saved[name]
        if not isinstance(value, Tensor):
            continue
        if not isinstance(other, Tensor):
            raise ValueError(f"{of}{name} is no tensor")
        if (value.shape, value.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"{of}{name} is {other.dtype}{list(other.shape)}, not "
                f"{value.dtype}{list(value.shape)}"
            )


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint and what belongs to it."""
    _remove_parts(path)
    path.unlink(missing_ok=True)


def _remove_parts(path: Path, but: str = "") -> None:
    for folder in path.parent.glob(f"{path.stem}-*{_PARTS}"):
        if folder.name != but:
            _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    if folder.is_symlink():  # whose content belongs to somebody else
        folder.unlink()
    else:
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
        _remove_folder(folder)  # left by a process that was killed
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
