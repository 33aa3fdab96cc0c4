"""Maintenance of a chip that has aged: measure digital or peripheral settings again.

Maintenance reads the chip and writes no cell. The chip processes the batches of training data that
its converters were calibrated with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from cimsim.nn import analog_layers, batch_norms, denoise, recalibrate, reestimate
from cimsim.profile import Profile

RANGES, STATISTICS = "ranges", "statistics"


def _statistics(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Average digital statistics of the columns over batches again."""
    if batch_norms(model):
        reestimate(model, batches)
    if _denoises(model):
        denoise(model, batches)


_MEASUREMENTS: dict[str, Callable[[nn.Module, Sequence[Tensor]], object]] = {
    RANGES: recalibrate,
    STATISTICS: _statistics,
}


def maintain(model: nn.Module, names: Iterable[str], batches: Sequence[Tensor]) -> None:
    """Measure settings again on the chip that ``model`` is programmed on, at its age.

    Args:
        model: programmed and aged.
        names: measurements in their order: ``ranges`` are the full scales of the converters
            (:func:`cimsim.nn.recalibrate`), ``statistics`` those of batch normalization
            (:func:`cimsim.nn.reestimate`) and of denoisers (:func:`cimsim.nn.denoise`).
        batches: training inputs.
    """
    for name in names:
        _MEASUREMENTS[name](model, batches)


def possible_maintenance(model: nn.Module) -> tuple[str, ...]:
    """Return the measurements that apply to ``model``: ranges that are neither fixed nor learned,
    statistics."""
    layers = analog_layers(model).values()
    ranges = any(_has_measured_range(layer.profile) for layer in layers)
    possible = {RANGES: ranges, STATISTICS: bool(batch_norms(model)) or _denoises(model)}
    return tuple(name for name, applies in possible.items() if applies)


def _has_measured_range(profile: Profile) -> bool:
    return any(
        converter.bits is not None and converter.range.kind not in ("fixed", "learned")
        for converter in (profile.dac, profile.adc)
    )


def _denoises(model: nn.Module) -> bool:
    return any(layer.denoiser is not None for layer in analog_layers(model).values())
