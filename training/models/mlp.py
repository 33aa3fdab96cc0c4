"""Multi-layer perceptron for images of any size."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

HIDDEN = (256, 128)


def mlp(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Build dense layers of 256, 128 and ``classes`` outputs, with ReLU between them.

    Maps [N, *input_shape] to logits [N, classes]; weights have PyTorch's default initialization.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = math.prod(input_shape)
    for number, width in enumerate(HIDDEN, start=1):
        layers[f"hidden{number}"] = nn.Linear(inputs, width)
        layers[f"relu{number}"] = nn.ReLU()
        inputs = width
    layers["classifier"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
