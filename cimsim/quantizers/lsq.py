"""Learned step size quantization."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cimsim.quantizers.quantizer import SMALLEST, Bits, Codes, Quantizer, code_range, through


class LearnedStep(Quantizer):
    """Evenly spaced levels whose step is a parameter, one for each row or for the whole tensor.

        x~ = s round(clip(x / s, low, high))   (one symmetric bit: -s or s)
        dx~/ds = round(x/s) - x/s inside, low or high outside;  times 1 / sqrt(N high)

    | levels    | low           | high           | 2 bits         |
    |-----------|---------------|----------------|----------------|
    | symmetric | -2^(bits-1)+1 | 2^(bits-1) - 1 | -s, 0, s       |
    | full      | -2^(bits-1)   | 2^(bits-1) - 1 | -2s, -s, 0, s  |
    | unsigned  | 0             | 2^bits - 1     | 0, s, 2s, 3s   |

    The paper has ``full`` for weights and ``unsigned`` for inputs behind a ReLU. ``symmetric``, the
    default, has three levels at 2 bits; it suits cells in pairs, which hold w and -w equally well.
    ``N`` numbers share a step, which is initialized to ``2 mean|x| / sqrt(high)`` of the first
    tensor. Steps per row are only useful for weights, because the rows of inputs are samples.

    Source: S. K. Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv:1902.08153.
    """

    name: ClassVar[str] = "lsq"
    step: nn.Parameter

    def __init__(
        self,
        bits: Bits = 4,
        per: Literal["tensor", "row"] = "tensor",
        levels: Codes = "symmetric",
    ) -> None:
        super().__init__()
        self.bits, self.per, self.levels = bits, per, levels
        self.low, self.high = code_range(bits, levels)
        self.is_sign = self.high == 0  # one symmetric bit
        self.most = max(1, self.high)
        self.step = nn.Parameter(torch.full((), torch.nan, device="cpu"))
        self._begun = False

    @torch.no_grad()
    def setup(self, x: Tensor) -> None:
        """Initialize the steps for ``x``."""
        flat = x.reshape(1, -1) if self.per == "tensor" else x.flatten(1)
        size = flat.abs().mean(1)
        step = (2 * size / math.sqrt(self.most)).clamp_min(SMALLEST)
        shape = () if self.per == "tensor" else (-1, *[1] * (x.dim() - 1))
        self.step = nn.Parameter(step.view(shape))
        self._begun = True

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        if not self._begun:  # a loaded state may contain a step already
            if self.step.isnan().any().item():
                self.step.data = torch.full_like(self.step, 2 / math.sqrt(self.most))
                self.step.data *= x.detach().abs().mean()
            self._begun = True
        share = 1 / math.sqrt(x.numel() / self.step.numel() * self.most)
        step = through(self.step * share, self.step).abs().clamp_min(SMALLEST)
        ratio = x / step
        if self.is_sign:
            up = 2 * (ratio.detach() >= 0).to(x.dtype) - 1
            return step * through(ratio.clamp(-1, 1), up)
        inside = ratio.clamp(self.low, self.high)
        return step * through(inside, inside.round())

    def step_size(self, x: Tensor) -> float:
        """Return the mean of the steps."""
        return float(self.step.detach().abs().mean())

    def codes(self, x: Tensor) -> Tensor:
        """Return ``round(x / s)``, clipped."""
        ratio = x.detach() / self.step.detach().abs().clamp_min(SMALLEST)
        return ratio.sign() if self.is_sign else ratio.clamp(self.low, self.high).round()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        levels = "" if self.levels == "symmetric" else f" {self.levels}"
        return f"{self.bits} bits{levels}, a step for each {self.per}"
