"""Seeds of everything random in a layer: chips of training, the chip of evaluation, and reads.

A chip or read is named by the layer and a counter. A call that may be repeated within backward, as
activation checkpointing does, is named by torch's global random state instead, which checkpointing
restores, so that the repetition draws the same numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import repeated_calls
from cimsim.nn.repeated_calls import RepeatedCalls
from cimsim.seeds import cycle_seed, seed_for
from cimsim.torch_private import in_backward, unpacking_hook


class NamedDraws(nn.Module):
    """A layer that names its draws.

    Attributes:
        name, seed: prefix of all names.
        draws: number of chips used in training so far.
        chip_seed, cycle: the chip of evaluation, and how often it was written before.
        reads: number of reads of that chip so far.
    """

    name: str
    seed: int
    draws: int
    chip_seed: int
    cycle: int
    reads: int
    _repeated: RepeatedCalls

    def _start_draws(self, name: str, seed: int) -> None:
        self.name, self.seed, self.draws = name, seed, 0
        self._repeated = RepeatedCalls()

    def _select_chip(self, number: int, cycle: int) -> None:
        self.chip_seed, self.cycle, self.reads = seed_for("chip", number, self.name), cycle, 0

    def _next_training_chip(self) -> int:
        """The seed of the next chip in training; every process of distributed training has its own.

        Raises:
            CimsimError: within ``nn.DataParallel``.
        """
        if vars(self).get("_is_replica", False):
            raise CimsimError(
                "nn.DataParallel discards the state of its replicas, so that every step would use "
                "the same chip; use torch.nn.parallel.DistributedDataParallel"
            )
        key = self._draw_key()
        if key is None:
            key = (self._count("draws"),)
        return seed_for("training", self.seed, self.name, *key, *_rank())

    def _next_read(self) -> int:
        """The seed of the next read of the chip in evaluation."""
        key = self._draw_key()
        if key is None:
            key = (self._count("reads"),)
        return seed_for(cycle_seed(self.chip_seed, self.cycle), "read", *key)

    def _count(self, of: str) -> int:
        """Add 1 to the attribute ``of``, and return what it was before."""
        state = vars(self)  # nn.Module's access takes a microsecond
        before: int = state[of]
        state[of] = before + 1
        return before

    def _draw_key(self) -> tuple[object, ...] | None:
        """A name that is the same if backward repeats this call; None if that cannot happen."""
        repeats = in_backward()
        hook = None if repeats else unpacking_hook()
        if not repeats and hook is None:
            return None
        token = int(torch.randint(2**62, (), device="cpu"))
        if hook is not None:
            self._repeated.add(token, hook)
        elif token not in self._repeated:
            self._refuse_repetition()
        return "token", token

    def _refuse_repetition(self) -> None:
        parts = (
            f", parts with at most {repeated_calls.MOST_CALLS} calls"
            if self._repeated.forgotten
            else ""
        )
        raise CimsimError(
            f"layer '{self.name}' runs again within backward and would use another chip than "
            "in the forward pass; checkpoint with use_reentrant=False and "
            f"preserve_rng_state=True, and outside of torch.compile{parts}"
        )

    def get_extra_state(self) -> Tensor:
        """``[seed, draws]``: continues with the same chips in training after loading."""
        return torch.tensor([self.seed, self.draws], dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Inverse of :meth:`get_extra_state`; a layer with ranges adds two numbers.

        Raises:
            CimsimError: if ``state`` is not such a pair.
        """
        known = isinstance(state, Tensor) and not state.is_meta
        numbers = state.flatten().tolist() if known else []
        if len(numbers) not in (2, 4) or not all(map(math.isfinite, numbers)):
            raise CimsimError(
                f"layer '{self.name}': '_extra_state' of the checkpoint is not the pair of seed "
                "and draws that state_dict() returns; remove that entry, and load with strict=False"
            )
        # Rounded, because the checkpoint may be cast, or the average of several models.
        self.seed, self.draws = map(round, numbers[:2])


def _rank() -> tuple[int, ...]:
    """Name of this process among those of distributed training; empty for the first, which uses the
    same chips as undistributed training."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ()
    rank = torch.distributed.get_rank()
    return (rank,) if rank else ()
