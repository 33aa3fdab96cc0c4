"""Check of CUDA's back end before it is used: its results for small operands against torch's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cimsim.kernels import cuda
from cimsim.kernels.fingerprint import sum_of_words
from cimsim.kernels.packing import (
    PackedCurve,
    PackedDrift,
    PackedPhysics,
    PackedProgramming,
    PackedRead,
)
from cimsim.kernels.types import Dac, Lines

_FULL, _LOWEST, _HIGHEST = 127.0, -128, 127


@torch.inference_mode(False)
@torch.enable_grad()
def check(device: str) -> None:
    """Run every kernel on ``device``, whatever the mode of the caller: rows that are multiples of
    four and others, in float32 and bf16.

    Raises:
        RuntimeError: if a result differs from that of plain torch; and whatever Triton raises if it
            cannot compile.
    """
    with torch.autocast(torch.device(device).type, enabled=False):
        for width in (30, 32):
            for dtype in (torch.float32, torch.bfloat16):
                _require(_converters_agree(device, width, dtype), f"converters in {dtype}")
            _require(_cells_agree(device, width), "cells")
        words = torch.arange(-5000, 5000, dtype=torch.int32, device=device)
        _require(cuda.fingerprint(words) == sum_of_words(words), "fingerprints")


def _require(agree: bool, what: str) -> None:
    if not agree:
        raise RuntimeError(f"their results differ from those of plain torch: {what}")


def _empty(device: str, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=device)


def _ramp(first: float, last: float, device: str, *shape: int) -> Tensor:
    count = math.prod(shape)
    return torch.linspace(first, last, count, dtype=torch.float32, device=device).view(shape)


def _converters_agree(device: str, width: int, dtype: torch.dtype) -> bool:
    """Whether DAC, ADC with both kinds of noise, and their masks equal torch's."""
    x = _ramp(-2.0, 2.0, device, 3, width).to(dtype)
    dac = Dac(_empty(device).fill_(1.0), _HIGHEST, -_HIGHEST)
    expected = (x.float() * _HIGHEST).clamp(-_HIGHEST, _HIGHEST).round()
    codes = cuda.encode(x, dac, dtype, torch.bfloat16, want_stored=True, want_mask=True)
    assert codes.squares is not None
    assert codes.stored is not None
    dx = torch.ones_like(x)
    cuda.mask_gradient(dx, None, codes.mask, dac)

    xi = _empty(device, 2, 3, width)
    for seed, own in enumerate(xi):
        cuda.normal(own, seed)
    variance = torch.full_like(x, 0.25, dtype=torch.bfloat16)
    currents = codes.values.float() + 0.5 * xi[0] + 0.3 * xi[1]
    scale, lines = _empty(device, 1, width).fill_(1.0), Lines(1, 1, 1, 3, width, of_columns=True)
    full, y = _empty(device).fill_(_FULL), torch.empty_like(x)
    mask = cuda.digitize(
        *(codes.values, variance, lines, None, full, (_LOWEST, _HIGHEST), scale, None, 0.3),
        *((0, 1), y),
        want_mask=True,
    )
    dz = cuda.scatter_to_columns(x, mask, lines, scale, x.shape, dtype)
    inside = (currents >= _LOWEST) & (currents <= _HIGHEST)
    steps = y.float() - currents.clamp(_LOWEST, _HIGHEST)
    return (
        torch.equal(codes.values.float(), expected)
        and torch.equal(codes.stored.float(), expected)
        and torch.allclose(codes.squares.float(), expected.square(), rtol=1e-2)
        and torch.equal(dx.bool(), x.abs() <= 1.0)
        and bool(steps.abs().max() < 0.501)  # half a step, and the last bits of both sums
        and torch.equal(dz, torch.where(inside, x, 0.0))
    )


def _cells_agree(device: str, rows: int) -> bool:
    """Whether programming, a power law of drift, read noise and their slopes equal torch's."""
    line = PackedCurve(0, (0.5, 1.0))
    write = PackedProgramming(0.05, 0.4, 0.0, line, PackedCurve(0, (0.0,)))
    law = PackedCurve(1, (-0.02, 0.05, 0.01, 0.1))
    drift = PackedDrift(True, 0.05, 1.0, 0.0, (20.0,), (law,), (PackedCurve(0, (0.0,)),))
    white = PackedRead(False, True, 0.05, 0.1, 0.0, 0.0, 0.0, line)
    physics = PackedPhysics(
        *(0.0, True, 0.0, 20.0, 0.0, 25.0, (write,), (drift,), (white,), (), (), 0.0)
    )
    draws, age_s = (((1, 1.0),), ((2, 1.0),), ()), 3600.0
    weight = _ramp(-1.0, 0.5, device, 1, 3, rows)
    xi = _empty(device, 2, *weight.shape)
    cuda.normal(xi, 1)
    relative = (weight / weight.abs().amax(-1, keepdim=True)).requires_grad_()
    target = relative.abs() * 20.0
    own, other = torch.where(relative < 0, xi.flip(0), xi)
    g = (target + 0.4 * (0.5 + 0.05 * target) * own).clamp(0.0, 25.0)
    rest = (0.4 * 0.5 * other).clamp(0.0, 25.0)
    nu = ((0.05 * target).clamp_min(1e-7).log() * -0.02 + 0.05).clamp(0.01, 0.1)
    elapsed = math.log1p(age_s / 20.0)
    g, rest = (g * torch.exp(-nu * elapsed)).clamp(0.0, 25.0), rest * math.exp(-0.1 * elapsed)
    expected = torch.where(relative < 0, rest - g, g - rest) / 20.0
    spread = [0.1 * (0.5 + 0.05 * each) * each / 20.0 for each in (g, rest)]
    (slope,) = torch.autograd.grad(expected.sum(), relative)
    read = cuda.program(weight, None, physics, draws, age_s)
    cells = cuda.program(weight, None, physics, draws, age_s, want_slope=True)
    d_weight = torch.empty_like(weight)
    ones = torch.ones_like(weight, dtype=torch.bfloat16)
    cuda.vjp_programming(weight, None, physics, draws, age_s, ones, None, d_weight)
    assert cells.slope is not None
    assert read.variance is not None
    variance = spread[0].square() + spread[1].square()
    inside = relative.abs() < 1.0  # the largest weight receives the gradient of the scale, too
    return (
        torch.allclose(read.relative, expected, rtol=1e-3, atol=1e-5)
        and torch.allclose(read.variance.float(), variance, rtol=1e-2, atol=1e-9)
        and torch.allclose(cells.slope, slope, rtol=1e-3, atol=1e-4)
        and torch.allclose((d_weight * cells.scale.unsqueeze(-1))[inside], slope[inside], rtol=1e-3)
    )
