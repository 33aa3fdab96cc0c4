"""Networks by name, with the same weights for the same seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from cimsim import seeds
from cimsim.errors import CimsimError
from cimsim.profile.suggest import unknown
from cimsim.training.models.cnn import cnn
from cimsim.training.models.custom import custom_model
from cimsim.training.models.gpt import gpt
from cimsim.training.models.mlp import mlp
from cimsim.training.models.resnet import resnet20
from cimsim.training.models.stochastic_binary import stochastic_binary

_BUILDERS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet20": resnet20,
    "stochastic-binary": stochastic_binary,
    "gpt": gpt,
}

_READERS_OF_TEXT = ("gpt",)

MODELS: tuple[str, ...] = tuple(_BUILDERS)


def build_model(spec: str, input_shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A network from images [N, *input_shape] to logits [N, classes], on the CPU.

    Of text: from characters [N, length] to logits [N, length, classes].

    Args:
        spec: one of ``MODELS``, or ``package.module:function`` for a function of the user's own
            that takes ``input_shape`` and ``classes`` and returns an ``nn.Module``.
        input_shape: (channels, height, width) of one image, or (length,) of a window of text.
        classes: number of logits.
        seed: decides the initial weights; the caller's random state is left as it was.

    Raises:
        CimsimError: no such model, or it cannot be built for these images.

    >>> build_model("mlp", (1, 8, 8), classes=10, seed=0)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    # The CPU only: its numbers are the same on every machine, with a GPU or without.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seeds.seed_for("initial weights", seed))
        if ":" in spec:
            return custom_model(spec, input_shape, classes)
        if spec not in _BUILDERS:
            raise CimsimError(unknown("model", spec, (*MODELS, "package.module:function")))
        reads_text, is_text = spec in _READERS_OF_TEXT, len(input_shape) == 1
        if reads_text != is_text:
            wanted, got = ("text", "images") if reads_text else ("images", "text")
            fitting = [name for name in MODELS if (name in _READERS_OF_TEXT) == is_text]
            raise CimsimError(
                f"model '{spec}' is for {wanted}, the data are {got}; choose --model "
                + ", ".join(fitting)
            )
        return _BUILDERS[spec](input_shape, classes)
