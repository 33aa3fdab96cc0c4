"""Combinations of settings that cannot train, refused before anything is written."""

from __future__ import annotations

from torch import nn

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.nn.computed import computed
from cimsim.training.config import TrainConfig
from cimsim.training.data import DataSet
from cimsim.training.objectives import Objective
from cimsim.training.optimizers import make_optimizer


def require_supported(
    config: TrainConfig,
    data: DataSet,
    model: nn.Module,
    objectives: list[Objective],
    samples: int,
    smallest: int,
) -> None:
    """Refuse settings that exclude each other.

    Args:
        samples: number of training samples.
        smallest: fewest samples that the model can train on at once.

    Raises:
        CimsimError: naming the settings, and what to change.
    """
    _refuse_lone_samples(config, samples, smallest)
    _refuse_parts(config, objectives)
    _refuse_computed_weights(config, objectives, model)
    _refuse_changed_weights(config)
    if config.augment and data.train_x.dim() != 4:
        raise CimsimError(f"augment: the data set '{data.name}' has no images; leave it out")
    if config.accumulate > 1 and (config.corrector or config.audit):
        raise CimsimError("correctors and audits look at a whole step; leave out accumulate")


def _refuse_changed_weights(config: TrainConfig) -> None:
    """Refuse what changes weights that the optimizer owns."""
    if not make_optimizer(config.optimizer).owns_weights:
        return
    others = [k for k in ("clip_sigma", "average", "quantize_weights") if getattr(config, k)]
    if others:
        raise CimsimError(
            f"optimizer '{config.optimizer}' owns the analog weights; {' and '.join(others)} "
            "would change them: set numbers to 0 and leave out quantizers"
        )


def _refuse_computed_weights(
    config: TrainConfig, objectives: list[Objective], model: nn.Module
) -> None:
    """Refuse what writes weights or asks for their curvature, where a layer computes its own."""
    writing = [f"objective {o.name}" for o in objectives if o.wants_curvature]
    writing += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    writing += [f"corrector {config.corrector}"] * bool(config.corrector)
    writing += ["audit"] * bool(config.audit)
    for name, layer in analog_layers(model).items():
        computing = computed(layer)
        if writing and computing is not None:
            raise CimsimError(
                f"{' and '.join(writing)} must set the weights themselves, and {computing} "
                f"computes that of layer '{name}'; leave one of the two out"
            )


def _refuse_lone_samples(config: TrainConfig, samples: int, smallest: int) -> None:
    """Refuse batches of one sample, where the model normalizes over the batch."""
    if min(config.batch_size, samples) < smallest:
        given = f"batch_size is {config.batch_size}" if samples >= smallest else "there is only one"
        raise CimsimError(
            f"{config.model} has batch normalization, which cannot train on one sample at a time, "
            f"and {given}; take two at least"
        )


def _refuse_parts(config: TrainConfig, objectives: list[Objective]) -> None:
    """Refuse what looks at whole parameters, where processes hold parts of them."""
    if config.parallel != "shard":
        return
    reading = [f"objective {o.name}" for o in objectives if o.reads_weights]
    reading += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    reading += [f"corrector {config.corrector}"] * bool(config.corrector)
    reading += ["audit"] * bool(config.audit)
    if reading:
        raise CimsimError(
            f"--parallel shard leaves no process with whole weights, which {' and '.join(reading)} "
            "must look at; take --parallel replicate"
        )
