"""Several processes that train one model, each on its share of every batch.

Started by ``torchrun``, or by anything else that sets torch's process group or its variables. All
processes hold the same weights and take the same steps; each meets chips of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.training.sharding import is_part

_PATIENCE = timedelta(hours=12)  # the first evaluates at the end, and the others wait


@dataclass(frozen=True)
class Ranks:
    """This process among ``count``; the first one writes files and speaks."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, x: Tensor, y: Tensor, smallest: int = 1) -> tuple[Tensor, Tensor, float]:
        """This process's samples of a batch, and what share of the batch they are.

        Where a batch has fewer than ``smallest`` samples for each process, all take all of it. The
        mean over all samples is the mean over the processes of ``share * count`` times each one's
        own mean.
        """
        if len(x) < self.count * smallest:
            return x, y, 1 / self.count
        mine = slice(self.rank, None, self.count)
        return x[mine], y[mine], len(x[mine]) / len(x)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over all processes; parts of parameters have it
        already, see :mod:`cimsim.training.sharding`.

        In one exchange for each dtype, after all of backward: whatever ran before it, and how
        often, the weights stay in agreement.
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

    def share_buffers(self, model: nn.Module) -> None:
        """Give everybody the first process's buffers: statistics that each has of its own samples,
        and ranges."""
        if self.count > 1:
            with _together():
                for buffer in model.buffers():
                    dist.broadcast(buffer, 0)

    def total(self, tensor: Tensor) -> Tensor:
        """``tensor``, replaced by its sum over all processes."""
        if self.count > 1:
            with _together():
                dist.all_reduce(tensor)
        return tensor

    def decide(self, what: bool) -> bool:
        """What the first process has decided."""
        if self.count == 1:
            return what
        gathered = [what]
        with _together():
            dist.broadcast_object_list(gathered)
        return gathered[0]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The CPU tensors of all processes, in their order."""
        if self.count == 1:
            return [tensor]
        gathered: list[Tensor] = [tensor] * self.count
        with _together():
            dist.all_gather_object(gathered, tensor)
        return gathered

    def wait(self) -> None:
        """For all others."""
        if self.count > 1:
            with _together():
                dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Within the block this process is one of those that ``torchrun`` started, and its device.

    A process group that is there already is used, and left there.

    Raises:
        CimsimError: if the others cannot be found.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size()), device
        return
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
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
    except (RuntimeError, CimsimError) as error:  # shared parameters meet in forward and backward
        lost = _lost_connection(error)
        if lost is None:
            raise
        raise _alone(lost) from None
    finally:
        dist.destroy_process_group()


def _lost_connection(error: BaseException | None) -> RuntimeError | None:
    """The error of torch's process group that ``error`` is, or that caused it."""
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
    except RuntimeError as error:  # how torch tells that somebody is gone
        raise _alone(error) from None


def _alone(error: RuntimeError) -> CimsimError:
    reason = str(error).strip().splitlines()[0]
    return CimsimError(
        "another process of this training has ended, and so does this one; what is saved can "
        f"be resumed with --resume ({reason})"
    )
