"""Distillation from a digital teacher."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.quantizers.quantizer import RandomQuantizer
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class Distill(Objective):
    """Divergence of the noisy outputs from those of a digital teacher.

        T^2 KL( softmax(teacher / T) || softmax(student / T) )

    In regression it is the mean squared difference, which has no temperature.

    ``teacher`` is the folder of a finished run, whose model is evaluated digitally; ``start``, the
    initial weights of this training, frozen, evaluated digitally and without quantizers; or
    ``self``, the current weights, evaluated digitally without gradient. Cross-entropy is still part
    of the loss unless it is given another weight.

    Sources: C. Zhou, P. Kadambi, M. Mattina, P. N. Whatmough, "Noisy Machines", arXiv:2001.04974
    (2020); with ``teacher=start``, temperature 1 and no cross-entropy, J. Büchel et al., "Analog
    Foundation Models", arXiv:2505.09663 (2025). The defaults and ``self`` are ours.
    """

    name: ClassVar[str] = "distill"

    def __init__(
        self,
        teacher: str = "self",
        weight: Weight = 1.0,
        temperature: Annotated[float, Field(gt=0)] = 2.0,
    ) -> None:
        self.teacher, self.weight, self.temperature = teacher, weight, temperature
        self.needs_start = self.reads_weights = teacher == "start"
        self._model: nn.Module | None = None

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Open the teacher's run, or copy the initial weights."""
        if self.teacher == "self":
            return
        if self.teacher == "start":
            self._model = _frozen(model)
            return
        from cimsim.training.run import Run

        run = Run.open(self.teacher, trust)
        if data_dir is not None:
            run.config = run.config.model_copy(update={"data_dir": data_dir})
        teacher = run.chip_model(device=next(model.parameters()).device)
        for layer in analog_layers(teacher).values():
            layer.digital = True
        self._model = teacher.requires_grad_(False)

    def _answers(self, step: TrainStep) -> Tensor:
        assert self._model is not None
        for module in self._model.modules():
            if isinstance(module, RandomQuantizer):
                module.draws = step.number << 10  # the same in every pass of this step
        answers: Tensor = self._model(step.x)
        return answers

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over the batch."""
        with torch.no_grad():
            answers = step.digital() if self._model is None else self._answers(step)
        if answers.shape != step.logits.shape:
            raise CimsimError(
                f"distill: the teacher {self.teacher} returns {list(answers.shape)}, but the model "
                f"returns {list(step.logits.shape)}; choose a teacher trained on the same data"
            )
        return step.task.distance(answers, step.logits, self.temperature)


def _frozen(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` that computes digitally, in evaluation mode and unquantized."""
    copy = deepcopy(model).eval()
    for layer in analog_layers(copy).values():
        layer.digital = True
        layer.quantize(None, None)
    return copy.requires_grad_(False)
