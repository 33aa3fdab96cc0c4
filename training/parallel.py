"""Data-parallel training by several processes.

The processes are started by ``torchrun``, or by any other program that sets torch's process group
or its environment variables. All processes have the same weights and perform the same steps; each
processes its part of every batch and samples its own chips.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.quantizers import Quantizer
from cimsim.training.sharding import is_part

Result = TypeVar("Result")

_PATIENCE = timedelta(hours=12)  # the others wait while the first process evaluates at the end


@dataclass(frozen=True)
class Ranks:
    """Rank of this process among ``count``; the first process writes files and reports progress."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True for the process that writes files and reports progress."""
        return self.rank == 0

    def share(self, x: Tensor, y: Tensor, smallest: int = 1) -> tuple[Tensor, Tensor, float]:
        """Return this process's samples of a batch, and their fraction of the batch.

        If a batch has fewer than ``smallest`` samples per process, every process gets the whole
        batch. The mean over all samples is the mean over the processes of ``share * count`` times
        the mean of each process.
        """
        if len(x) < self.count * smallest:
            return x, y, 1 / self.count
        mine = slice(self.rank, None, self.count)
        return x[mine], y[mine], len(x[mine]) / len(x)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over all processes.

        Gradients of sharded parameters are already averaged; see :mod:`cimsim.training.sharding`.
        There is one exchange per dtype, after the whole backward pass, so the weights agree
        regardless of the number of forward passes before it.
        """
        if self.count == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for parameter in model.parameters():
            if parameter.grad is not None and not is_part(parameter):
                by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_dtype.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self.total(flat).div_(self.count)
            sizes = [gradient.numel() for gradient in gradients]
            for gradient, part in zip(gradients, flat.split(sizes), strict=True):
                gradient.copy_(part.view_as(gradient))

    def share_measured(self, model: nn.Module) -> None:
        """Copy everything that was measured on data from the first process to all processes:
        buffers (statistics and ranges), learned ranges, and parameters of quantizers."""
        if self.count > 1:
            self.share_first(_measured(model))
            for module in model.modules():
                if isinstance(module, AnalogLayer):
                    module.ranges_changed()

    def share_first(self, tensors: Iterable[Tensor]) -> None:
        """Copy the tensors of the first process to all processes; shards stay as they are.

        The tensors are the same objects afterwards, because an optimizer may have them.
        """
        if self.count == 1:
            return
        for tensor in tensors:
            if is_part(tensor):
                continue
            received = tensor.detach().clone(memory_format=torch.contiguous_format)
            with _together():
                dist.broadcast(received, 0)
            with torch.no_grad():
                tensor.copy_(received)

    def total(self, tensor: Tensor) -> Tensor:
        """Replace ``tensor`` by its sum over all processes and return it."""
        if self.count > 1:
            with _together():
                dist.all_reduce(tensor)
        return tensor

    def decide(self, what: Result) -> Result:
        """Return the decision or the result of the first process."""
        if self.count == 1:
            return what
        gathered = [what]
        with _together():
            dist.broadcast_object_list(gathered)
        return gathered[0]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the CPU tensors of all processes, in the order of ranks."""
        if self.count == 1:
            return [tensor]
        gathered: list[Tensor] = [tensor] * self.count
        with _together():
            dist.all_gather_object(gathered, tensor)
        return gathered

    def wait(self) -> None:
        """Wait for all other processes."""
        if self.count > 1:
            with _together():
                dist.barrier()


def _measured(model: nn.Module) -> Iterator[Tensor]:
    """Return the buffers of ``model``, its learned ranges, and the parameters of its quantizers,
    some of which are set by the first batch."""
    yield from model.buffers()
    for module in model.modules():
        if isinstance(module, AnalogLayer):
            yield from module.learned_ranges
        elif isinstance(module, Quantizer):
            yield from module.parameters(recurse=False)


def present_ranks() -> Ranks:
    """Return the rank of this process in torch's process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that ``torchrun`` started; yield the ranks and the torch device.

    An existing process group is used and kept.

    Raises:
        CimsimError: if the other processes cannot be reached.
    """
    if dist.is_available() and dist.is_initialized():
        yield present_ranks(), device
        return
    count = _started()
    if count == 1:
        yield Ranks(), device
        return
    on_gpu = torch.device(device).type == "cuda"
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if on_gpu:
        torch.cuda.set_device(device)
    with _together():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), count), device
    except (RuntimeError, CimsimError) as error:  # shards are exchanged in forward and backward
        lost = _lost_connection(error)
        if lost is None:
            raise
        raise _alone(lost) from None
    finally:
        dist.destroy_process_group()


def refuse_several(what: str) -> None:
    """
    Raises:
        CimsimError: if several processes run this program, which ``what`` does not support.
    """
    count = max(_started(), present_ranks().count)
    if count > 1:
        raise CimsimError(
            f"{what} runs in one process, but WORLD_SIZE and RANK describe {count}; start it "
            "without torchrun, or unset them"
        )


def _started() -> int:
    """Number of processes that ``torchrun`` started; 1 without it.

    Raises:
        CimsimError: if the environment variable WORLD_SIZE is not a number of processes.
    """
    if "RANK" not in os.environ:
        return 1
    text = os.environ.get("WORLD_SIZE", "1")
    if not (text.isdecimal() and int(text)):
        raise CimsimError(
            f"the environment variable WORLD_SIZE is '{text}', not a number of processes; start "
            "the processes with torchrun, or unset it"
        )
    return int(text)


def _lost_connection(error: BaseException | None) -> RuntimeError | None:
    """Return the error of torch's process group in the chain of causes of ``error``, or None."""
    while error is not None:
        if isinstance(error, RuntimeError) and (
            isinstance(error, dist.DistError) or "gloo" in str(error)
        ):
            return error
        error = error.__cause__
    return None


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch raises this if another process has ended
        raise _alone(error) from None


def _alone(error: RuntimeError) -> CimsimError:
    reason = str(error).strip().splitlines()[0]
    return CimsimError(
        "this process stopped because another process of the training has ended; continue from "
        f"the last checkpoint with --resume ({reason})"
    )
