"""Settings that have no effect on a training."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Set

from torch import nn

from cimsim.nn import Assignment, profiles
from cimsim.nn.statistics import is_batch_norm
from cimsim.profile import Profile
from cimsim.profile.effect import effects_in
from cimsim.training.clipping import STATISTICS
from cimsim.training.config import TrainConfig
from cimsim.training.data import DataSet, has_folder
from cimsim.training.methods import METHODS
from cimsim.training.run import training_samples


def without_effect(
    config: TrainConfig, data: DataSet, model: nn.Module, named: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each reason why settings change nothing.

    Args:
        config: the settings of a training.
        data: its data.
        model: its model.
        named: the settings that the user chose; only these are mentioned.
    """
    for names, reason in (*_reasons(config, model), *_reasons_of_data(config, data)):
        if unused := [name for name in TrainConfig.model_fields if name in names & {*named}]:
            yield f"without effect on this training: {', '.join(unused)}, {reason}"


def _reasons(config: TrainConfig, model: nn.Module) -> Iterator[tuple[Set[str], str]]:
    """Yield settings that have no effect, and why."""
    method, assigned = METHODS[config.method], profiles(model)
    yield method.ignores, f"which method '{method.name}' does not use"
    modules = list(model.modules())
    if not any(map(is_batch_norm, modules)):
        yield {"statistics"}, f"because the model '{config.model}' has no batch normalization"
    if not method.simulates_cells and not any(isinstance(each, STATISTICS) for each in modules):
        yield {"age"}, f"because method '{method.name}' does not simulate the cells"
    elif not any(map(_ages, assigned.profiles)):
        yield {"age"}, f"because the cells of {assigned.name} do not age"
    if method.simulates_cells and not _are_noisy(assigned):
        yield {"ramp", "noise", "noise_spread"}, f"because {assigned.name} has no noise"


def has_noise(config: TrainConfig, assigned: Assignment) -> bool:
    """Return whether a training with noise has any, on chips of these profiles."""
    if METHODS[config.method].simulates_cells:
        return config.noise > 0 and _are_noisy(assigned)
    return config.gaussian_sigma > 0


def _are_noisy(assigned: Assignment) -> bool:
    return any(profile.scale_noise(2.0) != profile for profile in assigned.profiles)


def _reasons_of_data(config: TrainConfig, data: DataSet) -> Iterator[tuple[Set[str], str]]:
    """Yield a folder that is not read, and numbers that are larger than what the data have."""
    samples = len(data.train_x) + (0 if data.held_out_x is None else len(data.held_out_x))
    if config.limit is not None and config.limit > samples:
        reason = f"because all {samples} training samples of '{data.name}' are used"
        yield {"limit"}, reason
    if not has_folder(config.data):
        yield {"data_dir"}, f"because '{config.data}' is not read from a folder"
    batches = math.ceil(len(training_samples(config, data)[0]) / config.batch_size)
    if config.calibration_batches > batches:
        yield {"calibration_batches"}, f"because all batches of an epoch, {batches}, are used"


def _ages(profile: Profile) -> bool:
    return any(effect.depends_on_age and effect.strength for effect in effects_in(profile))
