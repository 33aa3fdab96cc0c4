"""Networks for tests of training, named as a user would name their own."""

import torch
from torch import Tensor, nn


def dropout_net(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Uses torch's global random state while training, and batch normalization."""
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


class _Odd(nn.Module):
    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 3, 2, stride=2)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.gru = nn.GRU(12, 5, batch_first=True)
        self.blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)])
        self.blocks[1].weight = self.blocks[0].weight
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(x).flatten(2).transpose(1, 2).reshape(len(x), -1, 12)
        h = h + self.attention(h, h, h)[0]
        h = self.gru(h)[0].mean(1)
        for block in self.blocks:
            h = torch.relu(block(h)) + h
        y: Tensor = self.head(h)
        return y


def odd_net(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Layers that keep their weights in other ways than ``[out, in]``, packed modules, tied
    weights."""
    return _Odd(input_shape[1] * input_shape[2], classes)


def normed_net(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A layer whose weight is computed from its parameters."""
    pixels = input_shape[0] * input_shape[1] * input_shape[2]
    hidden = nn.utils.parametrizations.weight_norm(nn.Linear(pixels, 16))
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(16, classes))
