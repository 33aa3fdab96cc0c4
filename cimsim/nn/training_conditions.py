"""Conditions of training mode that differ from the conditions of evaluation mode.

Training ramps the noise up, at chips of many ages, while evaluation uses the programmed
chip and the layer's own profile. So a layer has both, and its mode selects one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from cimsim.array import Array
from cimsim.nn.assignment import Assignment
from cimsim.nn.layer_kind import LayerKind
from cimsim.profile import Profile

# State that is not copied with a layer.
OF_ONE_TRAINING: dict[str, Any] = {
    "digital_in_training": False,
    "training_conditions": None,
    "_training_array": None,
}


class TrainingConditions(NamedTuple):
    """Profile and age (s) of the chips of training mode."""

    profile: Profile
    age_s: float


class TrainedApart(LayerKind):
    """A layer whose conditions in training mode may differ from those in evaluation mode.

    Attributes:
        digital: while true, the layer computes as its torch layer.
        digital_in_training: while true, it does so in training mode.
        training_conditions: profile and age in training mode; None if evaluation's are used.
    """

    digital: bool
    digital_in_training: bool  # a plain bool, because compiled graphs depend on it
    training_conditions: TrainingConditions | None
    age_s: float
    _array: Array
    _training_array: Array | None

    @property
    def trained_apart(self) -> bool:
        """Whether the conditions of training mode were set."""
        return self.digital_in_training or self.training_conditions is not None

    def train_on(self, profile: Profile, age_s: float) -> None:
        """Use ``profile`` and chips of the age ``age_s`` in training mode."""
        self.train_as_evaluated()
        self.training_conditions = TrainingConditions(profile, age_s)
        self._renew_training_array()

    def train_digitally(self) -> None:
        """Compute digitally in training mode."""
        self.train_as_evaluated()
        self.digital_in_training = True

    def train_as_evaluated(self) -> None:
        """Use the profile and the age of evaluation mode in training mode, as a new layer does."""
        self.digital_in_training, self.training_conditions = False, None
        self._training_array = None

    def _renew_training_array(self) -> None:
        """Make the array of the conditions of training mode, for inputs with the same sign."""
        conditions, array = self.training_conditions, None
        if conditions is not None:
            profile = conditions.profile
            tiling = self.tiling(self, profile.array)
            array = Array(profile, tiling, self._array.unsigned)
        self._training_array = array

    @property
    def array(self) -> Array:
        """The cells and converters of the layer in its current mode."""
        apart = self._training_array
        return self._array if apart is None or not self._draws_chips else apart

    @property
    def _present_age_s(self) -> float:
        """The age of chips in the current mode."""
        conditions = self.training_conditions if self._draws_chips else None
        return self.age_s if conditions is None else conditions.age_s

    @property
    def _draws_chips(self) -> bool:
        """Whether every forward pass programs another chip."""
        return self.training

    @property
    def _computes_digitally(self) -> bool:
        return self.digital or (self.training and self.digital_in_training)


def train_on(model: nn.Module, on: Assignment, age_s: float) -> None:
    """Train every analog layer of ``model`` on its profile of ``on``, at the age ``age_s``.

    Evaluation mode keeps its profiles, chip and age. :func:`train_digitally` and
    :func:`train_as_evaluated` replace this.
    """
    for name, layer in _layers(model):
        profile = on.on(name)
        if profile is None:
            layer.train_digitally()
        else:
            layer.train_on(profile, age_s)


def train_digitally(model: nn.Module) -> None:
    """Train every analog layer of ``model`` digitally; evaluation mode is unchanged."""
    for _, layer in _layers(model):
        layer.train_digitally()


def train_as_evaluated(model: nn.Module) -> None:
    """Train every analog layer of ``model`` on the profile and at the age of evaluation mode."""
    for _, layer in _layers(model):
        layer.train_as_evaluated()


def _layers(model: nn.Module) -> list[tuple[str, TrainedApart]]:
    return [(n, module) for n, module in model.named_modules() if isinstance(module, TrainedApart)]
