"""What can be done to a chip that has aged, before it is used again: measure some numbers anew.

All of it is digital or a setting of the periphery, and costs reads of the chip only; no cell is
written. The chip is shown the batches of training data that had set its converters' ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from cimsim.nn import analog_layers, batch_norms, denoise, recalibrate, reestimate
from cimsim.profile import Profile
from cimsim.training.run import Run, calibration_batches

RANGES, STATISTICS = "ranges", "statistics"


def _statistics(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Everything digital behind the columns that averages over batches."""
    if batch_norms(model):
        reestimate(model, batches)
    if _denoises(model):
        denoise(model, batches)


_WAYS: dict[str, Callable[[nn.Module, Sequence[Tensor]], object]] = {
    RANGES: recalibrate,
    STATISTICS: _statistics,
}


def keep_up(
    model: nn.Module, ways: Iterable[str], run: Run, device: torch.device | str = "cpu"
) -> None:
    """Measure anew on the chip that ``model``, of ``run``, is programmed on, at its age.

    ``ranges`` are the full scales of the converters (:func:`cimsim.nn.recalibrate`), ``statistics``
    those of batch normalization (:func:`cimsim.nn.reestimate`) and of denoisers
    (:func:`cimsim.nn.denoise`); the order of ``ways`` is that of the measurements.
    """
    batches = list(calibration_batches(run.config, run.data, device))
    for way in ways:
        _WAYS[way](model, batches)


def possible_upkeep(model: nn.Module) -> tuple[str, ...]:
    """What there is to measure on the chip of ``model``: ranges that are neither fixed nor learned,
    statistics."""
    layers = analog_layers(model).values()
    ranges = any(_has_measured_range(layer.profile) for layer in layers)
    found = {RANGES: ranges, STATISTICS: bool(batch_norms(model)) or _denoises(model)}
    return tuple(way for way, there in found.items() if there)


def _has_measured_range(profile: Profile) -> bool:
    return any(
        converter.bits is not None and converter.range.kind not in ("fixed", "learned")
        for converter in (profile.dac, profile.adc)
    )


def _denoises(model: nn.Module) -> bool:
    return any(layer.denoiser is not None for layer in analog_layers(model).values())
