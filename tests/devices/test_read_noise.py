"""Read noise against the published law, written out by hand."""

import math

import pytest
import torch

from cimsim.devices import read_variance_uS2
from cimsim.profile import load_profile
from tests.building import ONE_OVER_F, device, gaussian


@pytest.mark.parametrize("age_s", [0.0, 3600.0, 3.15576e7])
@pytest.mark.parametrize(("g_uS", "q"), [(0.05, 0.2), (2.5, 0.0088 / 0.1**0.65), (25.0, 0.0088)])
def test_pcm_read_noise(g_uS: float, q: float, age_s: float) -> None:
    cell = load_profile("pcm-ibm-2020").cell
    g = torch.tensor(g_uS, dtype=torch.float64)
    variance = read_variance_uS2(g, g, cell, age_s)
    assert variance is not None
    sigma = g_uS * q * math.sqrt(math.log((age_s + 20 + 250e-9) / (2 * 250e-9)))
    assert variance.sqrt().item() == pytest.approx(sigma, rel=1e-9)


def test_effects_add_in_variance() -> None:
    cell = device(read=[gaussian(0.03), gaussian(0.04)]).cell
    g = torch.full((3,), 10.0)
    variance = read_variance_uS2(g, g, cell, 0.0)
    assert variance is not None
    assert torch.allclose(variance, torch.full((3,), (0.05 * 25) ** 2))


@pytest.mark.parametrize("effect", [ONE_OVER_F, gaussian(0.1)], ids=lambda e: e["kind"])
def test_strength_zero_is_absent(effect: dict[str, object]) -> None:
    g = torch.full((3,), 10.0)
    assert read_variance_uS2(g, g, device(read=[{**effect, "strength": 0.0}]).cell, 0.0) is None
    assert read_variance_uS2(g, g, device().cell, 0.0) is None
