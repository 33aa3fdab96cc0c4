"""Saving of a converted model to a folder of plain files, and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from cimsim.errors import CimsimError
from cimsim.files import make_folder
from cimsim.folders import named_folder
from cimsim.lasting import lasting
from cimsim.nn import registry
from cimsim.nn.adapters import has_adapters
from cimsim.nn.convert import copied, finish, make_analog, unpack
from cimsim.nn.forms import require_module, require_weights
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.model_ops import analog_layers
from cimsim.nn.pretrained import (
    WEIGHTS,
    digital_model,
    hook_save_pretrained,
    is_pretrained,
    read_weights,
)
from cimsim.nn.settings_file import SETTINGS, SavedModel, read_settings, restore, write_settings
from cimsim.nn.weights_file import load_state, save_weights


def save(model: nn.Module, directory: str | Path) -> None:
    """Save a converted model to ``directory``: its weights, ranges, profiles, rules and chip.

    The files are ``model.safetensors``, with weights, ranges and the state of quantizers and
    denoisers, and ``cimsim.json``, with everything else. A Hugging Face model is saved by its
    ``save_pretrained``, with the same files and its own configuration.

    A model that is wrapped by ``torch.compile`` or for distributed training is saved without the
    wrapper. Files of an earlier call are replaced.

    Args:
        model: a converted model.
        directory: a folder; it is created if it is missing.

    Raises:
        CimsimError: if no layer is analog, or a file cannot be written.
    """
    require_module(model)
    inner = _unwrapped(model)
    analog_layers(inner)
    require_weights(inner)
    folder = named_folder(directory)
    make_folder(folder)
    if is_pretrained(inner) and not has_adapters(inner):
        saved: Any = inner
        saved.save_pretrained(folder)
        return
    save_weights(inner, folder / WEIGHTS)
    write_settings(inner, folder)


@lasting()
def load(directory: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Load the model that :func:`save`, or ``save_pretrained`` of a converted model, has saved.

    It gives the same results as the saved model: layers, ranges and rules are the same, and so is
    the chip of evaluation mode, with its age and reads.

    Args:
        directory: the folder.
        model: the digital model with the same layers; a copy of it is converted, and its weights do
            not matter. It can be left out for a Hugging Face model, whose configuration names its
            class in ``transformers``.

    Returns:
        The converted model, in evaluation mode if ``model`` was left out, and in the modes of
        ``model`` otherwise.

    Raises:
        CimsimError: if a file is missing or damaged, was written by a newer version, or does not
            fit ``model``.
    """
    folder = named_folder(directory)
    settings = read_settings(folder)
    if model is None:
        result = digital_model(folder)
    else:
        require_module(model)
        require_weights(model)
        if any(isinstance(module, AnalogLayer) for module in model.modules()):
            raise CimsimError(
                f"this {type(model).__name__} has analog layers already; pass the digital model "
                "to cimsim.load"
            )
        result = copied(_unwrapped(model))
    try:
        _convert_as_saved(result, settings)
    except CimsimError as error:
        raise CimsimError(f"{folder / SETTINGS}: {error}") from None
    state = read_weights(folder)
    try:
        load_state(result, state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CimsimError(
            f"the weights in {folder} do not fit this {type(result).__name__}: {reason}"
        ) from None
    return result


def _convert_as_saved(model: nn.Module, settings: SavedModel) -> None:
    ties = unpack(model)
    for name, saved in settings.layers.items():
        try:
            layer = model.get_submodule(name)
        except AttributeError:
            raise CimsimError(f"this {type(model).__name__} has no layer '{name}'") from None
        if registry.analog_kind(layer) is None:
            raise CimsimError(f"layer '{name}' is a {type(layer).__name__}, which stays digital")
        try:
            chosen = settings.settings(saved)
        except CimsimError as error:
            raise CimsimError(f"layer '{name}': {error}") from None
        restore(make_analog(layer, chosen, saved.draws_as, saved.seed), saved)
    finish(model, ties)
    hook_save_pretrained(model)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile`` and the wrappers of distributed training."""
    inner: Any = model
    while True:
        if isinstance(getattr(inner, "_orig_mod", None), nn.Module):
            inner = inner._orig_mod
        elif isinstance(inner, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = inner.module
        else:
            unwrapped: nn.Module = inner
            return unwrapped
