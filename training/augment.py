"""Random image augmentation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.training.config import Augmentation

_SHARE = 1 / 8  # of the image's smaller side: 4 pixels of 32


def augmented(x: Tensor, ways: tuple[Augmentation, ...], draws: torch.Generator) -> Tensor:
    """Apply all augmentations in ``ways`` to each image of ``x [N, C, H, W]``.

    ``flip`` mirrors an image horizontally with probability 1/2; ``shift`` translates it by up to an
    eighth of its smaller side in both directions and replicates the border.
    """
    if "flip" in ways:
        mirrored = torch.rand(len(x), generator=draws, device=draws.device).to(x.device) < 0.5
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    if "shift" in ways:
        x = _shifted(x, draws)
    return x


def _shifted(x: Tensor, draws: torch.Generator) -> Tensor:
    count, _, height, width = x.shape
    most = max(1, round(min(height, width) * _SHARE))
    padded = F.pad(x, (most, most, most, most), mode="replicate")
    by = torch.randint(2 * most + 1, (2, count), generator=draws, device=draws.device).to(x.device)
    rows = by[0, :, None] + torch.arange(height, device=x.device)
    columns = by[1, :, None] + torch.arange(width, device=x.device)
    images = torch.arange(count, device=x.device)[:, None, None]
    picked = padded[images, :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()
