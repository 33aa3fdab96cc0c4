"""Construction of models by name, with reproducible initial weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from cimsim import seeds
from cimsim.errors import CimsimError
from cimsim.suggest import unknown
from cimsim.training.data_spec import Form
from cimsim.training.models.cnn import cnn
from cimsim.training.models.custom import custom_model, is_custom
from cimsim.training.models.gpt import gpt
from cimsim.training.models.lstm import lstm
from cimsim.training.models.mlp import mlp
from cimsim.training.models.resnet import resnet18, resnet20, resnet32
from cimsim.training.models.stochastic_binary import stochastic_binary
from cimsim.training.models.vit import vit

_BUILDERS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet18": resnet18,
    "vit": vit,
    "stochastic-binary": stochastic_binary,
    "lstm": lstm,
    "gpt": gpt,
}

_FITTING: dict[Form, tuple[str, ...]] = {
    "text": ("lstm", "gpt"),
    "images": tuple(name for name in _BUILDERS if name != "gpt"),
    "vectors": ("mlp", "stochastic-binary"),
}

MODELS: tuple[str, ...] = tuple(_BUILDERS)


def build_model(
    spec: str,
    input_shape: tuple[int, ...],
    classes: int,
    seed: int,
    form: Form | None = None,
) -> nn.Module:
    """Build a network from images [N, *input_shape] to logits [N, classes], on the CPU.

    For text: from characters [N, length] to logits [N, length, classes].

    Args:
        spec: one of ``MODELS``, or ``package.module:function`` for a user's function that takes
            ``input_shape`` and ``classes`` and returns an ``nn.Module``.
        input_shape: (channels, height, width) of one image, (features,) of a vector, or (length,)
            of a window of text.
        classes: number of outputs.
        seed: seed of the initial weights; the caller's random state is unchanged.
        form: form of the inputs; by default text for a shape of one number, and images for others.

    Raises:
        CimsimError: if there is no such model, or it cannot be built for these inputs.

    >>> build_model("mlp", (1, 8, 8), classes=10, seed=0)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    form = form or ("text" if len(input_shape) == 1 else "images")
    # On the CPU, so that the weights are the same on every machine, with or without a GPU.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seeds.seed_for("initial weights", seed))
        if is_custom(spec):
            return custom_model(spec, input_shape, classes, form)
        if spec not in _BUILDERS:
            raise CimsimError(unknown("model", spec, (*MODELS, "package.module:function")))
        fitting = _FITTING[form]
        if spec not in fitting:
            expected = " and ".join(f for f, names in _FITTING.items() if spec in names)
            raise CimsimError(
                f"model '{spec}' is for {expected}, but the data are {form}; choose --model "
                + ", ".join(fitting)
            )
        return _BUILDERS[spec](input_shape, classes)
