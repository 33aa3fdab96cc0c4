"""The three models whose training step and inference the speed benchmark times.

| name | model                                               | batch              |
|------|-----------------------------------------------------|--------------------|
| W1   | MLP 784-1024-1024-10                                | 128                |
| W2   | ResNet-20 (16/32/64 channels, option-A shortcuts)   | 64 of 3x32x32      |
| W3   | 4 GPT blocks (width 256, 4 heads), 65-way head      | 8 of 128 tokens    |

All linear and convolutional layers are analog; normalisation, attention's products and the
embedding are digital.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.training.models.resnet import ResNet20


@dataclass(frozen=True)
class Workload:
    """A model and one batch for it."""

    name: str
    model: Callable[[], nn.Module]
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]]


class GPTBlock(nn.Module):
    """Pre-norm transformer block with causal attention and a GELU MLP four times as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return out


class GPT(nn.Module):
    """Token and position embedding, blocks, norm, head; logits ``[batch * length, vocabulary]``."""

    def __init__(
        self,
        width: int = 256,
        heads: int = 4,
        depth: int = 4,
        length: int = 128,
        vocabulary: int = 65,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(GPTBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.blocks(self.tokens(tokens) + self.positions[: tokens.shape[1]])
        return self.head(self.norm(x)).flatten(0, 1)  # type: ignore[no-any-return]


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
        Workload("W2", lambda: ResNet20(3, 10), images(64, 3, 32, 32)),
        Workload("W3", GPT, text(8, 128)),
    )
}
