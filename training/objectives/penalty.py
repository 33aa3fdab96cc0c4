"""What the quantizers cost."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.training.objectives.objective import Objective, Step, Weight


class Penalty(Objective):
    """The price of bits or of weights that are on: the quantizers' own penalty, per weight.

        sum over layers of penalty(quantizer) / number of weights

    Goes with the quantizers ``mixed`` (expected bits), ``learned-noise`` (bits beyond the first)
    and ``sparsify`` (share of the weights that is on).

    Raises:
        CimsimError: at the first step, if no quantizer has a penalty.
    """

    name: ClassVar[str] = "penalty"

    def __init__(self, weight: Weight = 0.01) -> None:
        self.weight = weight

    def term(self, step: Step) -> Tensor:
        """The mean over all weights of analog layers."""
        layers = analog_layers(step.model).values()
        quantizers = [layer.weight_quantizer for layer in layers]
        penalties = [q.penalty() for q in quantizers if q is not None]
        known = [penalty for penalty in penalties if penalty is not None]
        if not known:
            raise CimsimError(
                "objective 'penalty': no quantizer of the weights has a price; choose one that "
                "has, such as --quantize-weights mixed"
            )
        total: Tensor = sum(known[1:], known[0])
        return total / sum(layer.weight.numel() for layer in layers)
