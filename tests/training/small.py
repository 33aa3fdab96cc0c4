"""Trainings that take a second, stopped where a test wants them to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cimsim.training import trainer as trainer_module
from cimsim.training.config import TrainConfig, make_config
from cimsim.training.fit import fit
from cimsim.training.progress import Silent

STEPS = 3  # of an epoch


def small(**settings: Any) -> TrainConfig:
    """Two epochs of three steps."""
    usual = {"profile": "pcm-ibm-2020", "epochs": 2, "limit": 60, "batch_size": 20, "seed": 5}
    return make_config(**{**usual, **settings})


class Stop(Exception):
    """What ends a training from outside."""


def stopped(config: TrainConfig, out: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in ``out`` for ``after`` steps, with a checkpoint after each, and stop."""
    real, seen = trainer_module.Trainer._train_step, [0]

    def step(self: Any, *batch: Any) -> None:
        if seen[0] == after:
            raise Stop
        seen[0] += 1
        real(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)
        patch.setattr(trainer_module.Trainer, "_train_step", step)
        with pytest.raises(Stop):
            fit(config, out, resume=True, progress=Silent())
