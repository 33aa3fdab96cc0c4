"""Consistency between the analog and the digital output of every layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cimsim.nn import analog_layers
from cimsim.training.objectives.objective import Objective, TrainStep, Weight


class Consistency(Objective):
    """Squared distance between the analog and the digital outputs of each layer.

        mean over layers of  mean (z - z_d)^2 / mean z_d^2

    ``z`` is the output in the noisy pass, ``z_d`` that in the digital pass, which is constant in
    the gradient. Costs one additional forward pass.

    Source: idea by Z. Hou et al., "Feature consistency regularisation", Mach. Learn.: Sci. Technol.
    5, 035065 (2024); the normalization is ours.
    """

    name: ClassVar[str] = "consistency"

    def __init__(self, weight: Weight = 0.1) -> None:
        self.weight = weight
        self._noisy: dict[str, Tensor] = {}

    def watching(self, model: nn.Module) -> AbstractContextManager[object]:
        """Record the outputs of the forward pass."""
        return _recording(model, self._noisy)

    def term(self, step: TrainStep) -> Tensor:
        """Return the mean over layers and batch."""
        clean: dict[str, Tensor] = {}
        with torch.no_grad(), _recording(step.model, clean):
            step.digital()
        tiny = torch.finfo(torch.float32).tiny
        distances = [
            (z - clean[name]).square().mean() / clean[name].square().mean().clamp_min(tiny)
            for name, z in self._noisy.items()
        ]
        self._noisy.clear()
        return torch.stack(distances).mean()


@contextmanager
def _recording(model: nn.Module, into: dict[str, Tensor]) -> Iterator[None]:
    def keep(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        into[name] = output

    layers = analog_layers(model)
    hooks = [m.register_forward_hook(partial(keep, name)) for name, m in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
