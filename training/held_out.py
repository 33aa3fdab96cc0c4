"""Scores on held-out training data, on chips that no report uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cimsim.nn import analog_layers, calibrate, digital, program
from cimsim.nn.scoring import score
from cimsim.seeds import seed_for
from cimsim.training.data import HELD_OUT, Split
from cimsim.training.run import calibration_batches, new_model

if TYPE_CHECKING:
    from cimsim.training.trainer import Trainer


def chip_of(split: Split, number: int) -> int:
    """Return the seed of chip ``number`` for evaluations on ``split``.

    Test data are evaluated on chips 0, 1, 2, …; held-out data have chips of their own, so that a
    choice and the report on it share none.
    """
    return seed_for("held-out chip", number) if split == HELD_OUT else number


def held_out_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the current scores on held-out data, digitally and on one chip, by name.

    They are measured on a copy of the model, whose converters are calibrated if they have no
    ranges yet. Averaged weights are used if there are any; the statistics of batch normalization
    are the current ones. If processes have only shards of the model, it is scored digitally only.
    Empty without held-out data.
    """
    data, device = trainer.data, trainer.device
    if data.held_out_x is None:
        return {}
    x, y = (part.to(device) for part in data.part(HELD_OUT))
    names = (data.task.measure.name, "loss")

    def scores(model: torch.nn.Module, prefix: str) -> dict[str, float]:
        scored = score(model, x, y, data.task.tally(), data.batch_size)
        return {f"{prefix}_{name}": scored[name] for name in names if name in scored}

    if trainer.mesh is not None:
        with digital(trainer.model):
            return scores(trainer.model, "held_out")
    if not trainer.ranks.first:
        return {}
    model = _copy(trainer)
    with digital(model):
        metrics = scores(model, "held_out")
    if not all(layer.calibrated for layer in analog_layers(model).values()):
        calibrate(model, calibration_batches(trainer.config, data, device), missing=True)
    program(model, chip_of(HELD_OUT, trainer.config.seed))
    return metrics | scores(model, "held_out_chip")


@torch.no_grad()
def _copy(trainer: Trainer) -> torch.nn.Module:
    """A separate model with the current weights, or their averages."""
    plan = trainer.plan
    model = new_model(plan.config, plan.profile, plan.layers, plan.data).to(trainer.device)
    model.load_state_dict(trainer.model.state_dict())
    for parameter, mean in zip(model.parameters(), trainer.schedule.average, strict=False):
        parameter.copy_(mean)
    return model
