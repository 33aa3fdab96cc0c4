"""What is done to a whole converted model: program, age, calibrate, compute digitally."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn.assignment import Assignment
from cimsim.nn.batches import Batches, Forward, run_batches
from cimsim.nn.forms import require_module
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.modes import evaluating
from cimsim.nn.statistics import averaging, is_batch_norm, report_silent, report_unreached
from cimsim.profile import Profile, load_profile
from cimsim.seeds import chip_number, cycle_number
from cimsim.suggest import unknown
from cimsim.units import parse_duration


def analog_layers(model: nn.Module) -> dict[str, AnalogLayer]:
    """The analog layers of ``model`` by name, in the order of its modules.

    Raises:
        CimsimError: if there is none, ``model`` is no module, or two layers would draw the same
            noise.
    """
    require_module(model)
    layers = {n: layer for n, layer in model.named_modules() if isinstance(layer, AnalogLayer)}
    if not layers:
        raise CimsimError(
            f"this {type(model).__name__} has no analog layers; convert it first: "
            "model = cimsim.convert(model, profile)"
        )
    draws: dict[str, str] = {}  # by name alone, as chips of evaluation have no other seed
    for name, layer in layers.items():
        twin = draws.setdefault(layer.name, name)
        if twin != name:
            raise CimsimError(
                f"layers '{twin}' and '{name}' would draw the same noise, for both were converted "
                f"as '{layer.name}'; put the model together first and convert it as a whole"
            )
    return layers


def program(model: nn.Module, seed: int = 0, cycle: int = 0) -> nn.Module:
    """Program ``model`` on the chip named ``seed``, for use in evaluation mode; age zero.

    The same seed is the same chip: the same cells deviate in the same way whatever the profile's
    noise strength, and the same reads follow. Chips met in training are never among them.

    Another ``cycle`` writes the same chip again. Faults, ADC errors, the places of traps, and the
    ``device_share`` of each writing error stay the same. All other errors and all reads are drawn
    again.

    A chip is programmed again when the weights have changed, whatever wrote them: an optimizer,
    ``load_state_dict``, or an assignment to ``.data``.

    Args:
        model: a converted model.
        seed: number of the chip, a whole number.
        cycle: how often the chip was written before, a whole number of 0 or more.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if ``seed`` or ``cycle`` is no whole number, ``cycle`` is negative, or no layer
            is analog.
    """
    seed, cycle = chip_number(seed), cycle_number(cycle)
    for layer in analog_layers(model).values():
        layer.program(seed, cycle)
    return model


def age(model: nn.Module, time: float | str | timedelta) -> nn.Module:
    """Let ``time`` pass since programming: seconds, text such as ``"1 day"``, or a ``timedelta``.

    Evaluation mode sees the programmed chip at that age, training mode fresh chips of that age.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if ``time`` is no duration.
    """
    age_s = parse_duration(time)
    for layer in analog_layers(model).values():
        layer.age(age_s)
    return model


def devices(model: nn.Module) -> Assignment:
    """Which device each analog layer of ``model`` is on; those that compute digitally for now are
    told as digital.

    Raises:
        CimsimError: if no layer is analog.
    """
    return Assignment.of(
        {
            name: None if layer.digital else layer.profile
            for name, layer in analog_layers(model).items()
        }
    )


def set_profile(model: nn.Module, on: Profile | Assignment | str | Path) -> nn.Module:
    """Move every analog layer of ``model`` to the device ``on`` (also by name or file), or each to
    its own.

    An :class:`Assignment` also says which of the layers compute digitally. Ranges stay if
    converters and tile rows stay; otherwise the model wants :func:`calibrate` again.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if a layer does not fit its device, or there is none of a name.
    """
    layers = analog_layers(model)
    if not isinstance(on, Profile | Assignment):
        on = load_profile(on)
    if isinstance(on, Assignment):
        for name, _ in on.layers:
            if name not in layers:
                raise CimsimError(unknown("analog layer", name, layers))
    for name, layer in layers.items():
        device = on.on(name) if isinstance(on, Assignment) else on
        try:
            if device is not None:
                layer.profile = device
        except CimsimError as error:
            raise CimsimError(f"layer '{name}': {error}") from None
        if isinstance(on, Assignment):
            layer.digital = device is None
    return model


@contextmanager
def digital(model: nn.Module) -> Iterator[nn.Module]:
    """Within the block, every analog layer of ``model`` computes digitally."""
    layers = list(analog_layers(model).values())
    before = [layer.digital for layer in layers]
    for layer in layers:
        layer.digital = True
    try:
        yield model
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.digital = was


@contextmanager
def perturbed(model: nn.Module, change: Callable[[str, Tensor], Tensor]) -> Iterator[nn.Module]:
    """Within the block, every analog layer computes with ``change(name, weight)``.

    ``weight`` is what the layer would use, behind its quantizer; gradients go through ``change``.
    """
    layers = analog_layers(model)
    before = [layer.perturbation for layer in layers.values()]
    for name, layer in layers.items():
        layer.perturbation = partial(change, name)
    try:
        yield model
    finally:
        for layer, was in zip(layers.values(), before, strict=True):
            layer.perturbation = was


@torch.no_grad()
def denoise(model: nn.Module, batches: Batches, *, forward: Forward | None = None) -> nn.Module:
    """Measure every column's digital gain and offset on the chip that ``model`` is programmed on.

    What one does to a real chip after programming (and again when it has aged): show it a few
    batches, compare with the digital model, and correct each column. Layer by layer on the way, so
    that each is corrected for what it will really meet. The model must have been converted with
    ``denoise=``. Batches, and ``forward``, as in :func:`calibrate`.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if no layer has a denoiser, or there is no batch.
    """
    denoisers = {n: layer.denoiser for n, layer in analog_layers(model).items() if layer.denoiser}
    if not denoisers:
        raise CimsimError("denoise: the model was converted without it; convert(…, denoise=0.01)")
    with evaluating(model), averaging(denoisers, "denoise"):
        run_batches(model, batches, "denoise", forward)
    return model


@torch.no_grad()
def reestimate(model: nn.Module, batches: Batches, *, forward: Forward | None = None) -> nn.Module:
    """Measure the statistics of batch normalization on the chip that ``model`` is programmed on.

    Mean and variance of every channel become the averages over ``batches`` of training inputs, as
    they come out of this chip at its age. They are digital numbers, so on a real chip this costs
    reads only. Batches, and ``forward``, as in :func:`calibrate`. Source: V. Joshi et al., Nat.
    Commun. 11, 2473 (2020), who did so to make up for drift.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if no layer normalizes batches by running statistics, or there is no batch.
    """
    require_module(model)
    norms = {name: m for name, m in model.named_modules() if is_batch_norm(m)}
    if not norms:
        raise CimsimError("reestimate: the model has no batch normalization with statistics")
    with evaluating(model), averaging(norms, "reestimate"):
        run_batches(model, batches, "reestimate", forward)
    return model


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The modules of ``model`` that normalize by statistics of training batches."""
    return [module for module in model.modules() if is_batch_norm(module)]


def calibrate(
    model: nn.Module,
    batches: Batches,
    *,
    missing: bool = False,
    forward: Forward | None = None,
) -> nn.Module:
    """Measure the converters' ranges on ``batches`` of training inputs, and fix them.

    The batches run through the digital model in evaluation mode; each layer then sets its DAC and
    its ADC to the range of least mean squared error (see
    :meth:`cimsim.circuits.ranges.RangeObserver.full_scales`). A range that is learned is only set
    the first time. Nothing else changes. The weights' gradient is not touched.

    Args:
        model: a converted model.
        batches: an iterable of batches, such as a data loader; a handful is enough. A batch is a
            tensor, a mapping (``model(**batch)``, without what the model's ``forward`` does not
            take), or a tuple or list whose first entry is one of these or a tuple of positional
            arguments, and whose others are labels; see :mod:`cimsim.nn.batches`. Tensors are moved
            to the model's device.
        missing: only layers that have no ranges yet.
        forward: ``forward(model, batch)`` runs the model on a batch, as the loader gives it.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if there is no batch, the model fails on one, or a signal is not finite.
    """
    layers = list(analog_layers(model).values())
    if missing:
        layers = [layer for layer in layers if not layer.calibrated]
        if not layers:
            return model
    with digital(model):
        return _set_ranges(model, layers, batches, forward, "calibrate", on_chip=False)


def recalibrate(model: nn.Module, batches: Batches, *, forward: Forward | None = None) -> nn.Module:
    """Measure the converters' ranges again, on the chip that ``model`` is programmed on.

    What one does to a real chip that has aged: the batches run through it as it is, with the ranges
    that it has; each layer looks at its inputs and at the currents of its own columns (drifted, and
    with the noise of every read), and afterwards all converters are set to them by the rule of the
    profile. Ranges that the device fixes or that were learned stay.

    Args:
        model: a calibrated model, programmed and aged.
        batches, forward: as in :func:`calibrate`.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if the model was never calibrated, there is no batch, or a signal is not
            finite.
    """
    layers = list(analog_layers(model).values())
    return _set_ranges(model, layers, batches, forward, "recalibrate", on_chip=True)


@torch.no_grad()
def _set_ranges(
    model: nn.Module,
    layers: Sequence[AnalogLayer],
    batches: Batches,
    forward: Forward | None,
    verb: str,
    on_chip: bool,
) -> nn.Module:
    try:
        with evaluating(model):
            for layer in layers:
                layer.start_observing(on_chip)
            run_batches(model, batches, verb, forward)
        ranges = [layer.observed_ranges() for layer in layers]  # all of them before any is set
        for layer, found in zip(layers, ranges, strict=True):
            if found is not None:
                layer.set_ranges(found)
        unreached = [layer.name for layer, found in zip(layers, ranges, strict=True) if not found]
        report_unreached(verb, unreached, "converter ranges")
        report_silent(verb, [one.name for one in layers if one.observer and one.observer.silent])
    finally:
        for layer in layers:
            layer.observer = None
    return model
