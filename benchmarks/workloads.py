"""The three models whose training step and inference the speed benchmark times.

| name | model                                               | batch              |
|------|-----------------------------------------------------|--------------------|
| W1   | MLP 784-1024-1024-10                                | 128                |
| W2   | ResNet-20 (16/32/64 channels, option-A shortcuts)   | 64 of 3x32x32      |
| W3   | 4 GPT blocks (width 256, 4 heads), 65-way head      | 8 of 128 tokens    |

All linear and convolutional layers are analog; normalization, attention's products and the
embedding are digital.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from cimsim.training.models.gpt import GPT
from cimsim.training.models.resnet import ThinResNet


@dataclass(frozen=True)
class Workload:
    """A model and one batch for it."""

    name: str
    model: Callable[[], nn.Module]
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]]


class FlatGPT(GPT):
    """The library's GPT, with logits ``[batch * length, vocabulary]``."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token, all positions in one axis."""
        return super().forward(tokens).flatten(0, 1)


def mlp(widths: tuple[int, ...] = (784, 1024, 1024, 10)) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def images(batch: int, *shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Random pixels in [0, 1) with random labels of ten classes."""

    def draw(seed: torch.Generator) -> tuple[Tensor, Tensor]:
        pixels = torch.rand(batch, *shape, generator=seed)
        return pixels, torch.randint(10, (batch,), generator=seed)

    return draw


def text(
    batch: int, length: int, vocabulary: int = 65
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Random tokens with random next tokens."""

    def draw(seed: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = (batch, length)
        tokens = torch.randint(vocabulary, shape, generator=seed)
        return tokens, torch.randint(vocabulary, (batch * length,), generator=seed)

    return draw


WORKLOADS = {
    load.name: load
    for load in (
        Workload("W1", mlp, images(128, 784)),
        Workload("W2", lambda: ThinResNet(3, 10, 3), images(64, 3, 32, 32)),
        Workload("W3", FlatGPT, text(8, 128)),
    )
}
