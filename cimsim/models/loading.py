"""Loading of trained networks."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cimsim.models.cards import card
from cimsim.nn import convert, set_profile
from cimsim.profile import Profile
from cimsim.training.manifest import checked_sha256
from cimsim.training.models import build_model
from cimsim.training.run import MODEL, PROFILE, load_weights, read_profile
from cimsim.training.trained_networks import folder_of


def load(name: str, profile: Profile | str | Path | None = None) -> nn.Module:
    """Return a trained network, converted, calibrated and in evaluation mode.

    Args:
        name: name of the network, see :func:`names`.
        profile: profile to use instead of the one that it was trained for. If its converters or
            tile rows differ, the model needs :func:`cimsim.calibrate` before its first use.

    Returns:
        The model with analog layers; :func:`cimsim.to_digital` returns an ordinary one.

    Raises:
        CimsimError: if there is no network or profile of that name, or a file is damaged.

    >>> import cimsim, torch
    >>> model = cimsim.program(load("digits-mlp"), seed=7)
    >>> model(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    folder, described = folder_of(name), card(name)
    model = build_model(described.model, described.input_shape, described.classes, seed=0)
    model = convert(model, read_profile(folder / PROFILE))
    checked_sha256(folder / MODEL)
    load_weights(model, folder / MODEL)
    return (model if profile is None else set_profile(model, profile)).eval()
