"""Images a little different at every visit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.training.config import Augmentation

_SHARE = 1 / 8  # of the image's smaller side: 4 pixels of 32


def augmented(x: Tensor, ways: tuple[Augmentation, ...], draws: torch.Generator) -> Tensor:
    """``x [N, C, H, W]`` with each image changed in every one of ``ways``.

    ``flip`` mirrors half of the images left to right; ``shift`` moves each by up to an eighth of
    its smaller side in both directions, its border repeated.
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
