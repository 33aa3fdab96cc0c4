"""Differences between the inputs of a layer are moved to its weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.inputs import observed_inputs
from cimsim.adaptation.measured import MEASURED_BATCHES, checked_count
from cimsim.adaptation.part import CELLS, CONVERTERS, Change, Part, on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, calibrate
from cimsim.nn.input_gains import InputGains, balancing_gains
from cimsim.profile import FixedRange, LearnedRange, Profile


class Outliers(Part):
    """Inputs that are much larger than others are divided by a digital gain in front of the DAC,
    and their weights are multiplied by it (NORA).

        W_written = W g,   x_array = x / g,   g_k = max |x_k|^s / max |w_k|^(1 - s)

    ``s`` is the ``strength``: 1 makes all inputs equally large, 0 all weights. The gains of a layer
    have the geometric mean 1; for a convolution, each input channel has one. The largest inputs are
    observed in the digital model, and so are the new ranges of the converters. If the range of the
    inputs was learned, inputs are clipped at it before they are divided, and the DAC's new range
    covers all of them. All cells are written.

    A gain can be merged into the normalization in front of the layer, so that it costs nothing; it
    is counted as one number for each input.

    Sources: Y. Hou et al., "NORA: noise-optimized rescaling of LLMs on analog compute-in-memory
    accelerators" (DATE 2025); G. Xiao et al., "SmoothQuant" (ICML 2023, arXiv:2211.10438).
    """

    name, title = "outliers", "outliers moved to the weights"
    needs = frozenset({CELLS, CONVERTERS})

    def __init__(self, strength: float = 0.5, batches: int = MEASURED_BATCHES) -> None:
        if not (math.isfinite(strength) and 0 <= strength <= 1):
            raise CimsimError(f"strength must be 0 to 1, not {strength:g}")
        self.strength, self.batches = strength, checked_count(batches)

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        if any(has_free_input(layer.profile) for layer in on_chip(model).values()):
            return None
        return "its DACs have no range, or a fixed one"

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = {
            name: layer
            for name, layer in on_chip(bench.model).items()
            if has_free_input(layer.profile)
        }
        added = written = 0
        for name, seen in observed_inputs(bench, layers, self.batches).items():
            layer = layers[name]
            added += layer.inputs if layer.input_gains is None else 0
            self._scale(layer, seen.largest)
            written += layer.written_weight().numel() * layer.cells_per_weight
        calibrate(bench.model, bench.inputs(self.batches), forward=bench.forward)
        return Change(added=added, written=written)

    @torch.no_grad()
    def _scale(self, layer: AnalogLayer, largest: Tensor) -> None:
        """Set the gains of one layer, on top of those that it has."""
        before, clip = layer.input_gains, None
        if layer.clips_input:
            clip = layer.input_bound.detach().clone()
        weight = layer.scaled_weight()
        gains = balancing_gains(largest.to(weight), _largest(weight, len(largest)), self.strength)
        total = gains if before is None else gains * before.gains
        layer.scale_inputs(InputGains(total, clip))
        if clip is not None and largest.any():
            layer.dac_range.copy_((largest / gains.to(largest)).max())


def has_free_input(profile: Profile) -> bool:
    """Whether the range of the DAC can follow the inputs, and that of the ADC the weights."""
    dac, adc = profile.dac, profile.adc
    return (
        dac.bits is not None
        and not isinstance(dac.range, FixedRange)
        and not (adc.bits is not None and isinstance(adc.range, LearnedRange))
    )


def _largest(weight: Tensor, inputs: int) -> Tensor:
    """The largest magnitude of the weights of each input of all groups."""
    groups = inputs // weight.shape[1]
    by_group: Tensor = weight.abs().reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    return by_group.flatten(2).amax(2).flatten()
