"""Checks of combinations of settings before a run is created."""

from __future__ import annotations

from torch import nn

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.nn.computed import computed
from cimsim.training.config import TrainConfig
from cimsim.training.data import DataSet
from cimsim.training.objectives import Objective
from cimsim.training.optimizers import make_optimizer
from cimsim.training.recipe_errors import naming_recipe


def require_supported(
    config: TrainConfig,
    data: DataSet,
    model: nn.Module,
    objectives: list[Objective],
    samples: int,
    smallest: int,
) -> None:
    """Reject settings that exclude each other.

    Args:
        samples: number of training samples.
        smallest: smallest batch size that the model can be trained on.

    Raises:
        CimsimError: naming the settings, and what to change.
    """
    _refuse_percent(config)
    with naming_recipe(config):
        _refuse_other_tasks(data, objectives)
        _refuse_lone_samples(config, samples, smallest)
        _refuse_parts(config, objectives)
        _refuse_computed_weights(config, objectives, model)
        _refuse_untrained_start(config, objectives)
        _refuse_recomputed_noise(config, objectives)
        _refuse_changed_weights(config)
    if config.augment and data.train_x.dim() != 4:
        raise CimsimError(f"augment: the data set '{data.name}' has no images; remove augment")
    if config.accumulate > 1 and (config.corrector or config.audit):
        raise CimsimError("correctors and audits need whole batches; remove accumulate")


def _refuse_percent(config: TrainConfig) -> None:
    """Reject a number that is in percent where a fraction is meant."""
    if config.gaussian_sigma > 1:
        raise CimsimError(
            "gaussian_sigma is a fraction of the layer's largest weight, such as 0.038, not "
            f"{config.gaussian_sigma:g}; divide percent by 100"
        )


def _refuse_other_tasks(data: DataSet, objectives: list[Objective]) -> None:
    """Reject terms of the loss that do not apply to the labels of the data."""
    for objective in objectives:
        if data.task.name not in objective.tasks:
            raise CimsimError(
                f"objective '{objective.name}' is for {' and '.join(objective.tasks)}, but the "
                f"data '{data.name}' are {data.task.name}; remove it"
            )


def _refuse_changed_weights(config: TrainConfig) -> None:
    """Reject settings that change weights owned by the optimizer."""
    if not make_optimizer(config.optimizer).owns_weights:
        return
    others = [k for k in ("clip_sigma", "average", "quantize_weights") if getattr(config, k)]
    if others:
        raise CimsimError(
            f"optimizer '{config.optimizer}' owns the analog weights, but {' and '.join(others)} "
            "would change them; set numbers to 0 and remove quantizers"
        )


def _refuse_computed_weights(
    config: TrainConfig, objectives: list[Objective], model: nn.Module
) -> None:
    """Reject settings that write weights or need their curvature if a layer computes its weight."""
    writing = [f"objective {o.name}" for o in objectives if o.wants_curvature]
    writing += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    writing += [f"corrector {config.corrector}"] * bool(config.corrector)
    writing += ["audit"] * bool(config.audit)
    for name, layer in analog_layers(model).items():
        computing = computed(layer)
        if writing and computing is not None:
            raise CimsimError(
                f"{' and '.join(writing)} must set the weights directly, but {computing} "
                f"computes the weight of layer '{name}'; remove one of them"
            )


def _refuse_untrained_start(config: TrainConfig, objectives: list[Objective]) -> None:
    """Reject terms that take random weights for those of a trained model."""
    for objective in objectives:
        # A function may return a model with trained weights.
        if objective.needs_start and config.start is None and ":" not in config.model:
            raise CimsimError(
                f"objective '{objective.name}' uses the initial weights as the teacher, but they "
                "are random; set --start to a finished run or a trained network of `cimsim models`"
            )


def _refuse_recomputed_noise(config: TrainConfig, objectives: list[Objective]) -> None:
    """Reject forward passes under other noise if backward computes layers again."""
    for objective in objectives:
        if objective.changes_noise and config.recompute:
            raise CimsimError(
                f"objective '{objective.name}' changes the noise between forward passes, so that "
                "layers cannot be computed again in backward; remove recompute"
            )


def _refuse_lone_samples(config: TrainConfig, samples: int, smallest: int) -> None:
    """Reject batches of one sample if the model normalizes over the batch."""
    if min(config.batch_size, samples) < smallest:
        given = f"batch_size is {config.batch_size}" if samples >= smallest else "the data have one"
        raise CimsimError(
            f"{config.model} has batch normalization, which needs at least two samples per batch, "
            f"but {given}; use two or more"
        )


def _refuse_parts(config: TrainConfig, objectives: list[Objective]) -> None:
    """Reject settings that need whole parameters if processes have only shards of them."""
    if config.parallel != "shard":
        return
    reading = [f"objective {o.name}" for o in objectives if o.reads_weights]
    reading += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    reading += [f"corrector {config.corrector}"] * bool(config.corrector)
    reading += ["audit"] * bool(config.audit)
    if reading:
        raise CimsimError(
            "with --parallel shard no process has whole weights, which are required by "
            f"{' and '.join(reading)}; use --parallel replicate"
        )
