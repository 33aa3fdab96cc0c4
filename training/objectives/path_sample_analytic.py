"""Expected loss of a stochastic binary network."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.training.models.stochastic_binary import StochasticBinary
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class PathSampleAnalytic(Objective):
    """Cross-entropy with the path sample-analytic instead of the straight-through gradient.

        loss = f(x) (1 - sum_j p_j) + sum_j f(x with sign j flipped) p_j

    ``p_j`` carries the gradient of the probabilities of flipped signs, linearized through the
    layers; its equations are in ``StochasticBinary.path_sample_analytic``. For the model
    ``stochastic-binary``; combine it with cross-entropy of weight 0.

    Source: A. Shekhovtsov, V. Yanush, B. Flach, NeurIPS 2020, arXiv:2006.03143.
    """

    name: ClassVar[str] = "psa"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "text")
    reads_weights = True

    def __init__(self, weight: Weight = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Reject other models."""
        if not isinstance(model, StochasticBinary):
            raise CimsimError(
                "objective 'psa' needs a stochastic binary network, not a "
                f"{type(model).__name__}; choose --model stochastic-binary"
            )

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        assert isinstance(step.model, StochasticBinary)
        with step.repeated():
            return step.model.path_sample_analytic(step.x, step.y)
