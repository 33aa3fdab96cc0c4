"""Small transformer for text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GPTBlock(nn.Module):
    """Pre-norm transformer block with causal attention and a GELU MLP four times as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.down(self.gelu(self.up(self.norm2(x))))
        return out


class GPT(nn.Module):
    """Token and position embedding, blocks, norm, head.

    Maps tokens int64 ``[N, T]`` to logits ``[N, T, vocabulary]``, ``T <= length``. Embeddings and
    the products of attention are always digital.

    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

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
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token at every position."""
        x = self.blocks(self.tokens(tokens) + self.positions[: tokens.shape[1]])
        logits: Tensor = self.head(self.norm(x))
        return logits


def gpt(input_shape: tuple[int, ...], classes: int) -> GPT:
    """Build four blocks of width 128 with four heads: 0.82 million parameters for 65 characters."""
    return GPT(width=128, heads=4, depth=4, length=input_shape[0], vocabulary=classes)
