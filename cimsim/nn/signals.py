"""Errors of each layer's output on a chip, and shares of saturated converters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.array import Mask, Readout
from cimsim.nn.batches import Batches, Forward, run_batches
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.model_ops import age, analog_layers, digital, program
from cimsim.nn.modes import evaluating


@dataclass
class Signals:
    """Sums over all signals of one layer, on all chips.

    Attributes:
        power, error: squares of the digital output, and of the difference of the chip's output.
        inputs, inputs_cut: number of values that the DAC coded, and of those beyond its range.
        currents, currents_cut: number of values that the ADCs coded, and of those beyond their
            range.
        products: multiplications of a weight by an input.
    """

    power: float = 0.0
    error: float = 0.0
    inputs: int = 0
    inputs_cut: int = 0
    currents: int = 0
    currents_cut: int = 0
    products: int = 0

    @property
    def snr_dB(self) -> float:
        """``10 log10(sum y^2 / sum (y_chip - y)^2)``: infinite without error."""
        if self.error == 0:
            return math.inf
        return 10 * math.log10(self.power / self.error) if self.power else -math.inf

    @property
    def dac_cut(self) -> float | None:
        """Share of the inputs beyond the DAC's range; None if it is ideal."""
        return self.inputs_cut / self.inputs if self.inputs else None

    @property
    def adc_cut(self) -> float | None:
        """Share of the columns' values beyond the ADCs' range; None if they are ideal."""
        return self.currents_cut / self.currents if self.currents else None

    def add(self, layer: AnalogLayer, y: Tensor, on_chip: Tensor, readout: Readout) -> None:
        """Add one use of ``layer``: its digital output, its output on the chip, and the readout."""
        self.power += y.double().square().sum().item()
        self.error += (on_chip.double() - y.double()).square().sum().item()
        shape = layer.to_matrix(layer.weight.detach()).shape  # without spare columns
        self.products += readout.y.numel() // readout.y.shape[1] * math.prod(shape)
        count, cut = _cut(readout.dac_inside)
        self.inputs, self.inputs_cut = self.inputs + count, self.inputs_cut + cut
        count, cut = _cut(readout.adc_inside)
        self.currents, self.currents_cut = self.currents + count, self.currents_cut + cut


@torch.no_grad()
def measure_signals(
    model: nn.Module,
    batches: Batches,
    chips: Iterable[int] = (0,),
    age_s: float = 0.0,
    forward: Forward | None = None,
) -> dict[str, Signals]:
    """Errors that each analog layer of ``model`` makes on its own, on the chips with these seeds.

    The batches run through the digital model, so that each layer's input is exact, and each layer
    also multiplies this input on its chip. Layers that compute digitally at the moment are
    measured, too.

    Args:
        model: converted and calibrated; afterwards it is programmed on the last of the chips.
        batches, forward: as in :func:`cimsim.calibrate`; iterated over once for each chip.
        chips: seeds as :func:`cimsim.program` takes them.
        age_s: age of the chips in seconds.

    Returns:
        The signals of each layer by its name.

    Raises:
        CimsimError: if no layer is analog, one is not calibrated, or the model fails on a batch.
    """
    layers = analog_layers(model)
    signals = {name: Signals() for name in layers}

    def watch(name: str) -> Any:
        def hook(
            layer: AnalogLayer, given: tuple[Any, ...], named: dict[str, Any], y: Tensor
        ) -> None:
            arguments = signature(layer.forward).bind(*given, **named).args
            signals[name].add(layer, y, *layer.read(*arguments))

        return hook

    hooks = [
        layer.register_forward_hook(watch(name), with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        with evaluating(model), digital(model):
            for chip in chips:
                age(program(model, chip), age_s)
                run_batches(model, batches, "measure_signals", forward)
    finally:
        for hook in hooks:
            hook.remove()
    return signals


def _cut(inside: Mask | None) -> tuple[int, int]:
    """Number of values, and of values beyond the range."""
    if inside is None:
        return 0, 0
    mask = inside.unpack()
    return mask.numel(), mask.numel() - int(mask.sum())
