"""The expected loss of a network of noisy comparators."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.training.models.stochastic_binary import StochasticBinary
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class PathSampleAnalytic(Objective):
    """The path sample-analytic gradient, instead of the straight-through one of cross-entropy.

        see :meth:`cimsim.training.models.stochastic_binary.StochasticBinary.path_sample_analytic`

    For the model ``stochastic-binary``; name cross-entropy with weight 0 beside it.

    Source: A. Shekhovtsov, V. Yanush, B. Flach, NeurIPS 2020, arXiv:2006.03143.
    """

    name: ClassVar[str] = "psa"
    reads_weights: ClassVar[bool] = True

    def __init__(self, weight: Weight = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Refuse other models."""
        if not isinstance(model, StochasticBinary):
            raise CimsimError(
                "objective 'psa' is for networks of comparators, not for a "
                f"{type(model).__name__}; choose --model stochastic-binary"
            )

    def term(self, step: TrainStep) -> Tensor:
        """The mean over the batch."""
        assert isinstance(step.model, StochasticBinary)
        with step.repeated():
            return step.model.path_sample_analytic(step.x, step.y)
