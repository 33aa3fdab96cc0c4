"""Operations on a whole converted model: program, age, calibrate, compute digitally."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn.adapters import are_alternatives
from cimsim.nn.assignment import Assignment
from cimsim.nn.batches import Batches, Forward, run_batches
from cimsim.nn.forms import Model, require_module, require_weights
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.modes import evaluating
from cimsim.nn.own_chip import Multiply, OwnChip
from cimsim.nn.statistics import averaging, is_batch_norm, report_silent, report_unreached
from cimsim.profile import Profile, load_profile
from cimsim.seeds import chip_number, cycle_number
from cimsim.suggest import unknown
from cimsim.units import parse_duration


def analog_layers(model: nn.Module) -> dict[str, AnalogLayer]:
    """The analog layers of ``model`` by name, in the order of its modules.

    Raises:
        CimsimError: if there is none, ``model`` is not a module, or two layers would draw the same
            noise.
    """
    require_module(model)
    layers = {n: layer for n, layer in model.named_modules() if isinstance(layer, AnalogLayer)}
    if not layers:
        raise CimsimError(
            f"this {type(model).__name__} has no analog layers; convert it first: "
            "model = cimsim.convert(model, profile)"
        )
    draws: dict[str, str] = {}  # by name: chips of evaluation have no other seed
    for name, layer in layers.items():
        twin = draws.setdefault(layer.name, name)
        if twin != name and not are_alternatives(model, twin, name):
            raise CimsimError(
                f"layers '{twin}' and '{name}' would sample the same noise, because both were "
                f"converted as '{layer.name}'; assemble the model first and convert it as a whole"
            )
    return layers


def program(model: Model, seed: int = 0, cycle: int = 0, *, in_training: bool = False) -> Model:
    """Program ``model`` on the chip with the number ``seed``, at age zero, for evaluation mode.

    The same seed always gives the same chip: the same cells deviate in the same way at any noise
    strength of the profile, and the same reads follow. Training mode uses other chips, a new one in
    every forward pass, so that evaluation never uses a chip that was used in training.

    With ``in_training=True``, training mode uses this chip, too, with new read noise in every
    forward pass, so that training adapts to the errors of this chip. Frozen weights are programmed
    once. Trained weights are written to the same chip again after each step. The next call of
    ``program`` without ``in_training`` ends this.

    Another ``cycle`` writes the same chip again. Faults, ADC errors, the places of traps, and the
    ``device_share`` of each write error stay the same. All other errors and all reads are sampled
    again.

    A chip is programmed again when the weights have changed: by an optimizer, ``load_state_dict``,
    or an assignment to ``.data``.

    Args:
        model: a converted model.
        seed: number of the chip, a whole number.
        cycle: number of times that the chip was written before, a whole number of 0 or more.
        in_training: use this chip in training mode, too.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if ``seed`` or ``cycle`` is not a whole number, ``cycle`` is negative, or no
            layer is analog.
    """
    seed, cycle = chip_number(seed), cycle_number(cycle)
    for layer in analog_layers(model).values():
        layer.program(seed, cycle)
        layer.chip_in_training = in_training
    return model


def age(model: Model, time: float | str | timedelta) -> Model:
    """Set the time since programming: seconds, text such as ``"1 day"``, or a ``timedelta``.

    Evaluation mode uses the programmed chip at that age. Training mode uses new chips of that age,
    or, after ``program(…, in_training=True)``, the programmed chip.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if ``time`` is not a duration.
    """
    age_s = parse_duration(time)
    for layer in analog_layers(model).values():
        layer.age(age_s)
    return model


def profiles(model: nn.Module) -> Assignment:
    """The profile of each analog layer of ``model``; layers that compute digitally at the moment
    are digital in the result.

    Raises:
        CimsimError: if no layer is analog.
    """
    return Assignment.of(
        {
            name: None if layer.digital else layer.profile
            for name, layer in analog_layers(model).items()
        }
    )


def set_profile(model: Model, on: Profile | Assignment | str | Path) -> Model:
    """Set the profile of every analog layer of ``model`` to ``on``: a profile, name or file, or an
    :class:`Assignment` of a profile to each layer.

    An assignment also sets which of the layers compute digitally. Ranges are kept if converters and
    tile rows stay the same; otherwise the model needs :func:`calibrate` again.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if a layer does not fit its profile, or there is no profile or layer of a name.
    """
    layers = analog_layers(model)
    if not isinstance(on, Profile | Assignment):
        on = load_profile(on)
    if isinstance(on, Assignment):
        for name, _ in on.layers:
            if name not in layers:
                raise CimsimError(unknown("analog layer", name, layers))
    for name, layer in layers.items():
        profile = on.on(name) if isinstance(on, Assignment) else on
        try:
            if profile is not None:
                layer.profile = profile
        except CimsimError as error:
            raise CimsimError(f"layer '{name}': {error}") from None
        if isinstance(on, Assignment):
            layer.digital = profile is None
    return model


def use_chip(model: Model, chip: Multiply | None) -> Model:
    """Multiply with your own chip in every analog layer; a chip is any function that multiplies.

    ``chip(layer, x)`` gets the name of a layer and input vectors ``x [vectors, inputs]``, and
    returns ``[vectors, columns]``, as a tensor or a NumPy array. It multiplies by the weights that
    :func:`matrices` returns, using a test bench, a measured table or another simulator.
    Biases and everything else around the arrays stay digital. Gradients are those of the exact
    product.

    The chip is not saved with the model.

    Args:
        model: a converted model.
        chip: the function; None for the simulated chip.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if ``chip`` is not a function, or no layer is analog.
    """
    for name, layer in analog_layers(model).items():
        layer.own_chip = None if chip is None else OwnChip(chip, name)
    return model


@torch.no_grad()
def matrices(model: nn.Module) -> dict[str, Tensor]:
    """The matrix of each analog layer, ``[columns, inputs]``, to write on your own chip.

    A convolution has an input for each entry of its kernel, input channel by input channel; with
    groups, the matrix is block-diagonal.

    Raises:
        CimsimError: if no layer is analog.
    """
    return {name: layer.whole_matrix() for name, layer in analog_layers(model).items()}


@contextmanager
def digital(model: Model) -> Iterator[Model]:
    """Compute digitally in every analog layer of ``model`` within the block."""
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
def perturbed(model: Model, change: Callable[[str, Tensor], Tensor]) -> Iterator[Model]:
    """Compute with the weights ``change(name, weight)`` in every analog layer within the block.

    ``weight`` is the layer's quantized weight; gradients go through ``change``.
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
def denoise(model: Model, batches: Batches, *, forward: Forward | None = None) -> Model:
    """Measure every column's digital gain and offset on the chip that ``model`` is programmed on.

    A real chip is corrected in this way after programming, and again when it has aged: run a few
    batches, compare with the digital model, and correct each column. Each layer is corrected for
    inputs from the corrected layers before it. The model must have been converted with
    ``denoise=``. Batches, and ``forward``, as in :func:`calibrate`.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if no layer has a denoiser, or there is no batch.
    """
    denoisers = {n: layer.denoiser for n, layer in analog_layers(model).items() if layer.denoiser}
    if not denoisers:
        raise CimsimError(
            "denoise: the model was converted without denoisers; use convert(…, denoise=0.01)"
        )
    with evaluating(model), averaging(denoisers, "denoise"):
        run_batches(model, batches, "denoise", forward)
    return model


@torch.no_grad()
def reestimate(model: Model, batches: Batches, *, forward: Forward | None = None) -> Model:
    """Measure the statistics of batch normalization on the chip that ``model`` is programmed on.

    Mean and variance of every channel become the averages over ``batches`` of training inputs on
    this chip at its age. They are digital numbers, so on a real chip this costs reads only.
    Batches, and ``forward``, as in :func:`calibrate`. Source: V. Joshi et al., Nat. Commun. 11,
    2473 (2020), who compensated drift in this way.

    Returns:
        ``model`` itself.

    Raises:
        CimsimError: if no layer normalizes batches by running statistics, or there is no batch.
    """
    require_module(model)
    norms = {name: m for name, m in model.named_modules() if is_batch_norm(m)}
    if not norms:
        raise CimsimError(
            "reestimate: the model has no batch normalization with running statistics"
        )
    with evaluating(model), averaging(norms, "reestimate"):
        run_batches(model, batches, "reestimate", forward)
    return model


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The modules of ``model`` that normalize by statistics of training batches."""
    return [module for module in model.modules() if is_batch_norm(module)]


def calibrate(
    model: Model,
    batches: Batches,
    *,
    missing: bool = False,
    forward: Forward | None = None,
) -> Model:
    """Measure the converters' ranges on ``batches`` of training inputs, and set them.

    The batches run through the digital model in evaluation mode; each layer then sets its DAC and
    its ADC to the range of least mean squared error (see
    :meth:`cimsim.circuits.ranges.RangeObserver.full_scales`). Learned ranges are set only the
    first time. Nothing else changes, including the gradients of the weights.

    Args:
        model: a converted model.
        batches: an iterable of batches, such as a data loader; a few are enough. A batch is a
            tensor, a mapping (``model(**batch)``, without entries that the model's ``forward``
            does not accept), or a tuple or list whose first entry is one of these or a tuple of
            positional arguments, and whose other entries are labels; see
            :mod:`cimsim.nn.batches`. Tensors are moved to the model's device.
        missing: calibrate only layers that have no ranges yet.
        forward: ``forward(model, batch)`` runs the model on a batch of the loader.

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


def recalibrate(model: Model, batches: Batches, *, forward: Forward | None = None) -> Model:
    """Measure the converters' ranges again, on the chip that ``model`` is programmed on.

    A real chip that has aged is recalibrated in this way: the batches run on the chip with its
    current ranges; each layer observes its inputs and the currents of its own columns (with drift
    and read noise), and afterwards all ranges are set by the method of the profile. Learned ranges,
    and ranges that the profile fixes, do not change.

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
    model: Model,
    layers: Sequence[AnalogLayer],
    batches: Batches,
    forward: Forward | None,
    verb: str,
    on_chip: bool,
) -> Model:
    require_weights(model)
    try:
        with evaluating(model):
            for layer in layers:
                layer.start_observing(on_chip)
            run_batches(model, batches, verb, forward)
        ranges = [layer.observed_ranges() for layer in layers]  # all of them before any is set
        for layer, observed in zip(layers, ranges, strict=True):
            if observed is not None:
                layer.set_ranges(observed)
        reached = {layer.name for layer, r in zip(layers, ranges, strict=True) if r is not None}
        unreached = [layer.name for layer in layers if layer.name not in reached]
        report_unreached(verb, unreached, "converter ranges")
        report_silent(verb, [one.name for one in layers if one.observer and one.observer.silent])
    finally:
        for layer in layers:
            layer.observer = None
    return model
