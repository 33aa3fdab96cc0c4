"""Small vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError

_PATCH = 4


class ViT(nn.Module):
    """Patches, position embedding, pre-norm transformer, mean, classifier.

    Maps [N, C, H, W] to logits [N, classes]. Tokens are patches of 4 x 4 pixels.

    Source: A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; the mean instead of a
    class token as in L. Beyer et al., arXiv:2205.01580.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        width: int = 128,
        heads: int = 4,
        depth: int = 6,
    ) -> None:
        super().__init__()
        channels, *sides = input_shape
        tokens = (sides[0] // _PATCH) * (sides[1] // _PATCH)
        self.patches = nn.Conv2d(channels, width, _PATCH, _PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():  # the encoder's blocks are copies with equal initial weights
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            if isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(1))
        return logits


def vit(input_shape: tuple[int, ...], classes: int) -> ViT:
    """Build a :class:`ViT` with 1.2 million parameters.

    Raises:
        CimsimError: if a side of the images is not a multiple of 4.
    """
    if any(side % _PATCH for side in input_shape[1:]):
        size = "x".join(map(str, input_shape[1:]))
        raise CimsimError(
            f"model 'vit' needs images whose sides are multiples of {_PATCH} pixels, not {size}; "
            "choose another --model"
        )
    return ViT(input_shape, classes)
