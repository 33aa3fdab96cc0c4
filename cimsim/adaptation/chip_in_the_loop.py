"""Fine-tuning of the layers that are not programmed yet, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.part import CELLS, Change, Part, on_chip
from cimsim.adaptation.trained import affine_parameters, checked_rate, train
from cimsim.nn import AnalogLayer


class ChipInTheLoop(Part):
    """Layers are programmed one after the other; later layers are fine-tuned on measured outputs.

    With the first n layers on the chip and the others digital, the weights of the others (and all
    biases and normalization) are trained on measured outputs; then layer n + 1 is programmed with
    its trained weights. No layer is programmed twice. The budget is divided among the layers. In
    this simulation, the chip is programmed and measured at age 0, and then aged again.

    Source: W. Wan et al., "A compute-in-memory chip based on resistive random-access memory",
    Nature 608, 504 (2022): chip-in-the-loop progressive fine-tuning.
    """

    name, title = "chip-in-the-loop", "chip in the loop"
    needs = frozenset({CELLS})
    learns = True

    def __init__(self, lr: float = 0.001) -> None:
        self.lr = checked_rate(lr)

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        if len(on_chip(model)) > 1 or affine_parameters(model):
            return None
        return "nothing is behind its only layer"

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = in_order(bench)
        shares = _shares(bench.recipe.budget, len(layers))
        digital_parameters = affine_parameters(bench.model)
        done = 0
        with ExitStack() as at_programming:
            for layer in layers:
                at_programming.callback(layer.age, layer.age_s)
                layer.age(0.0)
                at_programming.callback(setattr, layer, "digital", layer.digital)
                layer.digital = True
            for number, steps in enumerate(shares):
                layers[number].digital = False
                programmed = [layer.weight for layer in layers[: number + 1]]
                behind = [layer.weight for layer in layers[number + 1 :]]
                parameters = _trainable([*digital_parameters, *behind], programmed)
                if parameters and steps:
                    train(bench, parameters, self.lr, steps, first=done)
                done += steps
        numbers = sum(parameter.numel() for parameter in digital_parameters)
        cells = sum(layer.weight.numel() for layer in layers[1:])
        return Change(changed=numbers, written=cells)


def in_order(bench: Bench) -> list[AnalogLayer]:
    """The layers on the chip in the order in which the model calls them first."""
    layers = on_chip(bench.model)
    called: dict[str, None] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: called.setdefault(name))
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            bench.run(0)
    finally:
        for hook in hooks:
            hook.remove()
    return [layers[name] for name in called]


def _trainable(tensors: Sequence[Tensor], programmed: Sequence[Tensor]) -> list[Tensor]:
    """Those that can be trained: leaves, each once, without weights that other tensors compute and
    those that a ``programmed`` layer shares."""
    unique = {id(tensor): tensor for tensor in tensors if tensor.is_leaf}
    held = set(map(id, programmed))
    return [tensor for name, tensor in unique.items() if name not in held]


def _shares(budget: int, layers: int) -> list[int]:
    """``budget`` batches divided between ``layers``; the first ones get what is left over."""
    each, left = divmod(budget - 1, layers)  # one batch found their order
    return [each + (number < left) for number in range(layers)]
