"""Resumption of a run from its checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.files import read_file, write_text
from cimsim.seeds import seed_for
from cimsim.training.checkpoint import Checkpoint, check_state, load_checkpoint, unreadable
from cimsim.training.manifest import hash_of
from cimsim.training.records import METRICS
from cimsim.training.run import CHECKPOINT, not_finite, refuse_not_finite
from cimsim.training.sharding import parted, parted_states
from cimsim.training.trainer import Trainer


def restore(trainer: Trainer) -> None:
    """Continue from the run's checkpoint, or from the start if there is none.

    Raises:
        CimsimError: if the checkpoint or the metrics are damaged or belong to another run.
    """
    seed, rank = trainer.config.seed, trainer.ranks.rank
    torch.manual_seed(seed if rank == 0 else seed_for("rank", seed, rank))
    path = trainer.out / CHECKPOINT
    saved = None
    if path.exists():
        saved = load_checkpoint(path, trainer.device, trainer.mesh)
        try:
            _check(trainer, saved)
            _load(trainer, saved)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise unreadable(path, f"it is damaged or belongs to another run: {error}") from None
    if trainer.ranks.first:
        known = "" if saved is None else saved.metrics_sha256
        kept = _keep_lines(trainer.out / METRICS, trainer.epoch, known)
        trainer.metrics_hash = hashlib.sha256(kept)
    if saved is not None:
        trainer.progress.note(f"resumed at epoch {trainer.epoch + 1}, step {trainer.step}")


def _check(trainer: Trainer, saved: Checkpoint) -> None:
    """Check that this run can have written a checkpoint, before loading any of it.

    Raises:
        ValueError: naming the difference, if it cannot.
    """
    if saved.run and saved.run != trainer.identity:
        raise ValueError("its settings, profile or data differ")
    done = saved.epoch * len(trainer.loader) + saved.step
    if not (done <= trainer.total and saved.step <= len(trainer.loader)):
        raise ValueError(f"epoch {saved.epoch}, step {saved.step} is beyond the run's end")
    if saved.sums.shape != trainer.sums.shape or not bool(saved.sums.isfinite().all()):
        raise ValueError("the sums of its epoch are not five finite numbers")
    for what, new, loaded in (
        ("average", trainer.schedule.average, saved.average),
        ("curvature", trainer.curvature.state() if trainer.curvature else [], saved.curvature),
    ):
        if len(new) != len(loaded):
            raise ValueError(f"it contains {len(loaded)} tensors of {what}, not {len(new)}")
        check_state(dict(enumerate(new)), dict(enumerate(loaded)), f"{what} ")
    check_state(trainer.model.state_dict(), saved.model)
    damaged = f"{trainer.out / CHECKPOINT} is damaged"
    refuse_not_finite(saved.model, trainer.not_measured, damaged)
    if len(saved.optimizers) != len(trainer.optimizers):
        raise ValueError(
            f"it contains {len(saved.optimizers)} optimizers, not {len(trainer.optimizers)}"
        )
    for optimizer, state in zip(trainer.optimizers, saved.optimizers, strict=True):
        _check_optimizer(optimizer, state)


def _load(trainer: Trainer, saved: Checkpoint) -> None:
    """Restore position and state from ``saved``."""
    now = trainer.model.state_dict()
    trainer.model.load_state_dict(
        {name: parted(tensor, now.get(name)) for name, tensor in saved.model.items()}
    )
    states = parted_states(saved.optimizers, trainer.optimizers)
    for optimizer, state in zip(trainer.optimizers, states, strict=True):
        optimizer.load_state_dict(state)
    trainer.epoch, trainer.step = saved.epoch, saved.step
    if trainer.ranks.first:
        trainer.sums = saved.sums
    trainer.schedule.average = [
        parted(mean, parameter)
        for mean, parameter in zip(saved.average, trainer.model.parameters(), strict=False)
    ]
    if trainer.curvature is not None:
        trainer.curvature.load(saved.curvature)
    trainer.plateau.load(saved.plateau, within=trainer.step > 0)
    seed, rank = trainer.config.seed, trainer.ranks.rank
    if rank < len(saved.rng):
        torch.set_rng_state(saved.rng[rank].cpu())
    else:  # there are more processes than before
        torch.manual_seed(seed_for("rank", seed, rank, trainer.epoch, trainer.step))


def _check_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Check that a state has the settings and parameters of ``optimizer``.

    Raises:
        ValueError: naming the difference, if it cannot.
    """
    new = optimizer.state_dict()
    if saved.keys() != new.keys() or len(saved["param_groups"]) != len(new["param_groups"]):
        raise ValueError("it belongs to another optimizer")
    for group, before in zip(new["param_groups"], saved["param_groups"], strict=True):
        for name in group.keys() & before.keys() - {"lr"}:  # determined by the step
            if group[name] != before[name]:
                raise ValueError(f"the optimizer's {name} was {before[name]}, not {group[name]}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = {frozenset(numbers) for numbers in saved["state"].values()}
    if len(names) > 1:
        raise ValueError("the optimizer's state is incomplete")
    for at, numbers in saved["state"].items():
        for name, value in numbers.items():
            if not isinstance(value, Tensor) or value.shape not in ((), parameters[at].shape):
                raise ValueError(f"the optimizer's {name} of parameter {at} has another shape")
        if names_not_finite := not_finite(numbers):
            raise ValueError(f"the optimizer's {sorted(names_not_finite)[0]} has NaN or infinity")


def _keep_lines(path: Path, count: int, sha256: str) -> bytes:
    """Truncate the metrics to the epochs of the checkpoint and return their lines.

    Raises:
        CimsimError: if their hash is not ``sha256``, the hash in the checkpoint.
    """
    lines = read_file(path).splitlines(keepends=True) if path.exists() else []
    kept = b"".join(lines[:count])
    if sha256 and hash_of(kept) != sha256:
        raise CimsimError(
            f"{path} is damaged: it does not contain the {count} epochs before {CHECKPOINT}; "
            f"restore it from a copy, or remove {path.with_name(CHECKPOINT)} to restart the run"
        )
    if len(lines) > count:
        write_text(path, kept.decode())
    return kept
