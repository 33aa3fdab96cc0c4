"""Networks for tests of training, named as a user would name their own."""

import torch
from torch import Tensor, nn


def dropout_net(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Uses torch's global random state while training, and batch normalisation."""
    pixels = input_shape[0] * input_shape[1] * input_shape[2]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(32, classes),
    )


class _Exploding(nn.Module):
    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(pixels, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1))
        return y * torch.inf


def exploding_net(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Its logits are infinite."""
    return _Exploding(input_shape[0] * input_shape[1] * input_shape[2], classes)
