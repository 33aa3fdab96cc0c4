"""Penalty of the quantizers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class Penalty(Objective):
    """Penalty on bits or on nonzero weights, defined by the quantizers, per weight.

        sum over layers of penalty(quantizer) / number of weights

    Use it with the quantizers ``mixed`` (expected bits), ``learned-noise`` (bits beyond the first)
    and ``sparsify`` (fraction of nonzero weights).
    """

    name: ClassVar[str] = "penalty"
    reads_weights = True

    def __init__(self, weight: Weight = 0.01) -> None:
        self.weight = weight

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Reject a model without a quantizer that has a penalty."""
        if not _penalties(model):
            raise CimsimError(
                "objective 'penalty' needs a weight quantizer with a penalty; choose one, such as "
                "--quantize-weights mixed"
            )

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over all weights of analog layers."""
        first, *others = _penalties(step.model)
        total: Tensor = sum(others, first)
        return total / sum(layer.weight.numel() for layer in analog_layers(step.model).values())


def _penalties(model: nn.Module) -> list[Tensor]:
    quantizers = [layer.weight_quantizer for layer in analog_layers(model).values()]
    penalties = [quantizer.penalty() for quantizer in quantizers if quantizer is not None]
    return [penalty for penalty in penalties if penalty is not None]
