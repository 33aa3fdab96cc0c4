"""The state of a run that is under way: enough to go on as if nothing had happened."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.files import replacing


@dataclass
class Checkpoint:
    """Where the run stands: ``step`` batches of epoch ``epoch`` are done.

    ``sums`` are the running loss, right answers and images of that epoch, and sum and number of its
    audits; ``average`` are averaged parameters and ``curvature`` their
    mean squared gradients, empty if none are kept; ``rng`` is torch's global
    CPU state of every process, for models that use it (dropout).
    """

    epoch: int
    step: int
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    sums: Tensor
    average: list[Tensor]
    curvature: list[Tensor]
    rng: list[Tensor]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``checkpoint`` so that ``path`` is always a whole one."""
    with replacing(path) as temporary:
        try:
            torch.save(asdict(checkpoint), temporary)
        except RuntimeError as error:  # how torch's writer reports a full disk
            raise OSError(f"the checkpoint could not be written ({error})") from error


def load_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; tensors and plain containers only, no code.

    Raises:
        CimsimError: if the file is damaged or something else.
    """
    try:
        return Checkpoint(**torch.load(path, map_location=device, weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CimsimError(
            f"{path} is not a readable checkpoint ({first}); remove it to start the run anew"
        ) from None
