"""Recipes: tuned combinations of settings."""

from __future__ import annotations

from cimsim.errors import CimsimError
from cimsim.suggest import unknown

RECIPES: dict[str, dict[str, object]] = {
    # For more noise than the profile has: chips with varying noise, averaged weights.
    "robust": {
        "method": "noise-aware",
        "noise": 2.0,
        "noise_spread": 0.5,
        "clip_sigma": 1.5,
        "average": 0.999,
    },
    # One bit for weights and inputs.
    "a1w1": {
        "noise": 2.0,
        "quantize_weights": "denoising:bits=1",
        "quantize_inputs": "denoising:bits=1",
        "keep_digital": ("first", "last"),
        "clip_sigma": 0.0,
        "learn_ranges": (),
    },
    # Analog foundation models (J. Büchel et al., arXiv:2505.09663): distill from the frozen digital
    # model that training starts from, on chips with the device's own noise, with learned ranges of
    # the inputs and clipped weights. Rate and schedule depend on the model.
    "llm": {
        "method": "noise-aware",
        "noise": 1.0,
        "clip_sigma": 2.5,
        "learn_ranges": ("dac",),
        "objective": ("distill:teacher=start,temperature=1", "cross-entropy:weight=0"),
        "optimizer": "adam:beta2=0.98",
        "weight_decay": 0.01,
    },
}


def recipe(name: str) -> dict[str, object]:
    """Return the settings of the recipe ``name``.

    Raises:
        CimsimError: if there is no recipe of that name.
    """
    if name not in RECIPES:
        raise CimsimError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
