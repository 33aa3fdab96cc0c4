"""Read noise before a rounding ADC is a dither: how true the straight-through slope is then."""

from __future__ import annotations

import math

import pytest
import torch

import cimsim
from cimsim.nn import analog_layers

LEVELS = 31.0  # of 6 bits, above zero


def mean_output(at_lsb: torch.Tensor, sigma_lsb: float, reads: int) -> torch.Tensor:
    """Mean reading in LSB of an ADC whose input lies at ``at_lsb``."""
    layer = cimsim.convert(
        torch.nn.Linear(1, 1, bias=False),
        cimsim.load_profile(
            "ideal",
            {
                "adc.bits": 6,
                "adc.noise_of_range": sigma_lsb / LEVELS,
                "adc.source": "assumption: a test",
            },
        ),
    )
    analog = analog_layers(layer)[""]
    with torch.no_grad():
        analog.weight.fill_(1.0)
        analog.adc_range.fill_(LEVELS)
    x = at_lsb.repeat_interleave(reads)[:, None]
    with torch.no_grad():
        return layer.eval()(x).view(len(at_lsb), reads).double().mean(1)


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.4, 0.5])
def test_the_mean_is_the_fourier_series_of_rounding(sigma: float) -> None:
    """E[round(a + s xi)] = a + sum_k (-1)^k sin(2 pi k a) exp(-2 pi^2 k^2 s^2) / (pi k)."""
    a, reads = torch.linspace(3.0, 4.0, 21), 20_000
    expected = a.double()
    for k in range(1, 60):
        damped = math.exp(-2 * math.pi**2 * k**2 * sigma**2)
        expected = expected + (-1) ** k * torch.sin(2 * math.pi * k * a.double()) * damped / (
            math.pi * k
        )
    spread = math.sqrt(sigma**2 + 1 / 4)
    found = mean_output(a, sigma, reads)
    assert (found - expected).abs().max() < 5 * spread / math.sqrt(reads)


def test_the_slope_is_the_identity_but_for_its_first_term() -> None:
    """At 0.4 LSB of noise the slope is off by at most 2 exp(-2 pi^2 0.16) = 8.5 %, at 0.1 LSB by
    more than all of it: there the straight-through slope is an idealization."""
    h, reads = 0.05, 200_000
    for sigma, low, high in ((0.4, 1 - 0.10, 1 + 0.10), (0.1, 0.3, 3.0)):
        a = torch.tensor([3.0 - h, 3.0 + h, 3.5 - h, 3.5 + h])
        found = mean_output(a, sigma, reads)
        slopes = torch.stack([found[1] - found[0], found[3] - found[2]]) / (2 * h)
        if sigma == 0.4:
            assert low < slopes.min() < slopes.max() < high
        else:
            assert slopes[0] < low
            assert slopes[1] > high
