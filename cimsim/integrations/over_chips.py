"""Metrics over several programmed chips, and the settings that callbacks have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from cimsim.errors import CimsimError
from cimsim.nn import age, analog_layers, program
from cimsim.seeds import chip_number
from cimsim.training.noise_aware import NoiseAware
from cimsim.units import parse_duration

LOWER_IS_BETTER = ("loss", "perplexity", "error", "rmse", "mae", "mse", "wer", "cer")


class ChipMetrics:
    """Mean, standard deviation and worst value of every metric over ``chips`` chips.

    Args:
        chips: number of chips; 0 for no evaluation over chips.
        age: time since programming.
        lower_is_better: endings of the names of metrics whose worst value is the largest.

    Raises:
        CimsimError: if ``chips`` is not a whole number of 0 or more, or ``age`` is not a duration.
    """

    def __init__(
        self,
        chips: int,
        age: str | float | timedelta = "0s",
        lower_is_better: Sequence[str] = LOWER_IS_BETTER,
    ) -> None:
        self.chips = chip_number(chips)
        if self.chips < 0:
            raise CimsimError(f"chips must be 0 or more, not {chips}")
        self.age_s = parse_duration(age)
        self.lower_is_better = tuple(lower_is_better)

    def measure(
        self, model: nn.Module, evaluate: Callable[[], Mapping[str, float]], prefix: str
    ) -> dict[str, float]:
        """Call ``evaluate`` once per chip, with ``model`` programmed on it.

        Afterwards, the model is on its own chip again, and torch's random state is as before.

        Returns:
            For every metric ``{prefix}{name}`` of ``evaluate``, the entries
            ``{prefix}chip_{name}_mean``, ``…_std`` (of the sample; 0 for one chip) and ``…_worst``.
        """
        values: dict[str, list[float]] = {}
        with _as_before(model):
            for chip in range(self.chips):
                age(program(model, chip), self.age_s)
                for name, value in evaluate().items():
                    values.setdefault(name.removeprefix(prefix), []).append(float(value))
        metrics = {}
        for name, of_chips in values.items():
            worst = max if name.endswith(self.lower_is_better) else min
            key = f"{prefix}chip_{name}"
            metrics[f"{key}_mean"] = fmean(of_chips)
            metrics[f"{key}_std"] = stdev(of_chips) if len(of_chips) > 1 else 0.0
            metrics[f"{key}_worst"] = worst(of_chips)
        return metrics


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    """Restore the chip of evaluation mode, its reads, all modes, and torch's random state."""
    layers = list(analog_layers(model).values())
    chips = [(one.chip_seed, one.cycle, one.age_s, one.reads) for one in layers]
    modes = [(module, module.training) for module in model.modules()]
    devices = {layer.weight.device for layer in layers if layer.weight.device.type == "cuda"}
    try:
        with torch.random.fork_rng(sorted(devices, key=str)):
            yield
    finally:
        for layer, (chip_seed, cycle, age_s, reads) in zip(layers, chips, strict=True):
            layer.chip_seed, layer.cycle, layer.reads = chip_seed, cycle, reads
            layer.age(age_s)
        for module, mode in modes:
            module.training = mode


def checked_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``settings``, keyword arguments of :class:`cimsim.NoiseAware` except ``steps``.

    Raises:
        TypeError: if it does not accept one of them.
    """
    inspect.signature(NoiseAware).bind(nn.Identity(), 1, **settings)
    return settings
