"""Terms of the loss by name: ``make_objectives(["distill:temperature=4", "lotion"])``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from cimsim.spec import Family
from cimsim.training.objectives.adversarial import Adversarial
from cimsim.training.objectives.consistency import Consistency
from cimsim.training.objectives.cross_entropy import CrossEntropy
from cimsim.training.objectives.distill import Distill
from cimsim.training.objectives.lotion import Lotion, LotionDevice
from cimsim.training.objectives.mean_squared_error import MeanSquaredError
from cimsim.training.objectives.negative_feedback import NegativeFeedback
from cimsim.training.objectives.objective import Objective, TrainStep
from cimsim.training.objectives.path_sample_analytic import PathSampleAnalytic
from cimsim.training.objectives.penalty import Penalty
from cimsim.training.objectives.percentile import Percentile

OBJECTIVES: Family[Objective] = Family(
    "objective",
    *(
        CrossEntropy,
        MeanSquaredError,
        Adversarial,
        Consistency,
        Distill,
        Lotion,
        LotionDevice,
        NegativeFeedback,
        PathSampleAnalytic,
        Penalty,
        Percentile,
    ),
)


def make_objectives(specs: Iterable[str], main: str = CrossEntropy.name) -> list[Objective]:
    """Build the terms that ``specs`` describe, and add the term ``main`` if it is not among them.

    Raises:
        CimsimError: if an objective, setting or value is unknown.
    """
    named = [OBJECTIVES.make(spec) for spec in specs]
    if any(objective.name == main for objective in named):
        return named
    return [OBJECTIVES.make(main), *named]


def total(objectives: Iterable[Objective], step: TrainStep) -> Tensor:
    """Return the loss: the weighted sum of all terms."""
    terms = [objective.weight * objective.term(step) for objective in objectives]
    return torch.stack(terms).sum() if terms else step.logits.new_zeros(())


@contextmanager
def watched(objectives: Sequence[Objective], model: nn.Module) -> Iterator[None]:
    """Enter the contexts that the objectives need around the forward pass."""
    with ExitStack() as stack:
        for objective in objectives:
            stack.enter_context(objective.watching(model))
        yield


__all__ = ["OBJECTIVES", "Objective", "TrainStep", "make_objectives", "total", "watched"]
