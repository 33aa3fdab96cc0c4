"""Inputs of the layers of a model, observed while it computes digitally."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.adaptation.bench import VERB, Bench
from cimsim.adaptation.part import on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, digital, evaluating
from cimsim.nn.input_clip import clipped


@dataclass
class ObservedInputs:
    """Statistics of each input (or input channel) of one layer, ``[inputs]``.

    Attributes:
        power: mean square.
        largest: largest magnitude.
    """

    power: Tensor
    largest: Tensor


def observed_inputs(
    bench: Bench, layers: Mapping[str, AnalogLayer], batches: int
) -> dict[str, ObservedInputs]:
    """The inputs that the arrays of ``layers`` get in the digital model, clipped at learned ranges;
    layers that no batch uses are left out.

    Raises:
        CimsimError: if an input is not finite.
    """
    squares: dict[str, Tensor] = {}
    largest: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str, given: tuple[Tensor, ...]) -> None:
        layer = layers[name]
        vectors = layer.vectors(given[0]).detach()
        if layer.clips_input:
            vectors = clipped(vectors, layer.dac_range.detach())
        by_input = vectors.double().transpose(0, 1).flatten(1)
        squares[name] = squares.get(name, 0) + by_input.square().sum(1)
        peaks = by_input.abs().amax(1)
        largest[name] = torch.maximum(largest.get(name, peaks), peaks)
        counts[name] = counts.get(name, 0) + math.prod(by_input.shape[1:])

    originals = on_chip(bench.original)
    hooks = [
        originals[name].register_forward_pre_hook(lambda _, x, name=name: watch(name, x))
        for name in layers
    ]
    try:
        with torch.no_grad(), evaluating(bench.original), digital(bench.original):
            for number in range(min(batches, len(bench.batches))):
                bench.run_original(number)
    finally:
        for hook in hooks:
            hook.remove()
    for name, total in squares.items():
        if not total.isfinite().all():
            raise CimsimError(
                f"{VERB}: the inputs of layer '{name}' are not finite; look for NaN or infinity in "
                "the data"
            )
    return {name: ObservedInputs(squares[name] / n, largest[name]) for name, n in counts.items()}
