"""Simple noise-aware layers in plain autograd, for comparison.

The layers simulate the effects of the profile ``generic-gaussian``: 8-bit inputs and column
outputs, weight noise of 3 % of the largest weight that is sampled at every forward pass, readout
noise of 1 % of the range of the ADC, and tiles of 512 inputs whose outputs are converted separately
and summed. Convolutions unfold their input. ``Naive`` learns its ranges with straight-through
gradients; ``NaiveFused`` keeps them fixed and uses torch's fused fake quantization. ``WeightNoise``
has no converters, like most noise-aware training in the literature.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS, LEVELS, WEIGHT_NOISE, READ_NOISE = 512, 127, 0.03, 0.01


def naive(model: nn.Module, batch: Tensor, kind: type[nn.Module]) -> nn.Module:
    """A copy of ``model`` in which ``kind`` replaces every linear layer and convolution."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, kind(module))
    with torch.no_grad():
        model(batch)  # sets the ranges
    return model


class WeightNoise(nn.Module):
    """The torch layer with Gaussian noise on its weights, in the graph of autograd."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        w = self.layer.weight
        w = w + WEIGHT_NOISE * w.detach().abs().max() * torch.randn_like(w)
        if isinstance(self.layer, nn.Conv2d):
            return self.layer._conv_forward(x, w, self.layer.bias)
        return F.linear(x, w, self.layer.bias)


class Naive(nn.Module):
    """A linear layer or convolution on tiles, everything spelled out."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.conv = layer if isinstance(layer, nn.Conv2d) else None
        self.dac_range = nn.Parameter(torch.tensor(float("nan")))
        self.adc_range = nn.Parameter(torch.tensor(float("nan")))

    def quantize(self, x: Tensor, full_scale: Tensor) -> Tensor:
        """Clip and round, the rounding passed straight through."""
        step = full_scale / LEVELS
        codes = (x / step).clamp(-LEVELS, LEVELS)
        codes = codes + (codes.round() - codes).detach()
        return codes * step

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        shape = x.shape
        if self.conv is not None:
            c = self.conv
            x = F.unfold(x, c.kernel_size, c.dilation, c.padding, c.stride)  # type: ignore[arg-type]
            x = x.transpose(1, 2)
        if self.dac_range.isnan():
            self.dac_range.data.copy_(3 * x.std())
        x = self.quantize(x, self.dac_range)
        w = self.weight.flatten(1)
        noise = WEIGHT_NOISE * w.detach().abs().max() * torch.randn_like(w)
        w = w + noise
        total: Tensor | int = 0
        for start in range(0, w.shape[1], ROWS):
            part = slice(start, start + ROWS)
            z = x[..., part] @ w[:, part].T
            if self.adc_range.isnan():
                self.adc_range.data.copy_(4 * z.std())
            z = z + READ_NOISE * self.adc_range.detach() * torch.randn_like(z)
            total = total + self.quantize(z, self.adc_range)
        assert isinstance(total, Tensor)
        if self.bias is not None:
            total = total + self.bias
        if self.conv is None:
            return total
        height = (shape[2] + 2 * int(self.conv.padding[0]) - 3) // self.conv.stride[0] + 1
        return total.transpose(1, 2).unflatten(2, (height, -1))


class NaiveFused(Naive):
    """The same with torch's fused fake quantization, whose ranges are not learned."""

    def quantize(self, x: Tensor, full_scale: Tensor) -> Tensor:
        """Clip and round, the rounding passed straight through."""
        zero = torch.zeros(1, dtype=torch.int32)
        step = full_scale.detach().view(1) / LEVELS
        return torch.fake_quantize_per_tensor_affine(x, step, zero, -LEVELS, LEVELS)
