"""Small convolutional network of the robustness literature on Fashion-MNIST."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from cimsim.errors import CimsimError

CHANNELS = 64
HIDDEN = (256, 64)


def cnn(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Two times [convolution to 64 channels, 2x2 max-pooling, ReLU], then dense 256, 64, classes.

    Maps [N, *input_shape] to logits [N, classes]. The convolutions are 4x4 without padding and the
    pooling keeps an odd last row and column, so a 28x28 image becomes 5x5 of 64 channels and the
    network has 493,642 parameters. Images smaller than 10x10 (the 8x8 digits) use 3x3 kernels.
    Weights are Glorot-normal, biases zero.

    Source: J. Büchel, F. Faber, D. R. Muir, "Network insensitivity to parameter noise via
    parameter attack during training", ICLR 2022, the F-MNIST architecture. Their code pads the
    input of the first convolution, so that its output is 28x28; here the last row and column of the
    pooling are padded. It also normalizes images and the last hidden layer over the batch.

    Raises:
        CimsimError: if the image is too small for two stages.
    """
    channels, height, width = input_shape
    kernel = 4 if min(height, width) >= 10 else 3
    map_height, map_width = (_after_two_stages(length, kernel) for length in (height, width))
    if min(map_height, map_width) < 1:
        raise CimsimError(
            f"model 'cnn' needs images of at least 7x7 pixels, got {height}x{width}; use 'mlp'"
        )
    inputs = CHANNELS * map_height * map_width
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, CHANNELS, kernel),
            pool1=nn.MaxPool2d(2, ceil_mode=True),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(CHANNELS, CHANNELS, kernel),
            pool2=nn.MaxPool2d(2, ceil_mode=True),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            hidden1=nn.Linear(inputs, HIDDEN[0]),
            relu3=nn.ReLU(),
            hidden2=nn.Linear(HIDDEN[0], HIDDEN[1]),
            relu4=nn.ReLU(),
            classifier=nn.Linear(HIDDEN[1], classes),
        )
    )
    network.apply(_glorot_normal)
    return network


def _after_two_stages(length: int, kernel: int) -> int:
    """Return the size of one axis after two stages of valid convolution and ceil-mode pooling."""
    for _ in range(2):
        length = -(-(length - kernel + 1) // 2)
    return length


def _glorot_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
