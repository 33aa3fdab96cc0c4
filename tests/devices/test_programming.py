"""Programming noise against the published polynomials, written out by hand."""

import math

import pytest
import torch

from cimsim.devices import programmed_uS
from cimsim.devices.programming import programming_sigma_uS
from cimsim.profile import load_profile
from tests.building import POLYNOMIAL, device, gaussian

# sigma(g) of Joshi et al. 2020 at 0, 6.25, 12.5, 25 uS: 0.26348 + 1.9650 r - 1.1731 r^2
PCM_SIGMA_uS = {0.0: 0.26348, 6.25: 0.68141125, 12.5: 0.952705, 25.0: 1.05538}


@pytest.mark.parametrize(("g_uS", "sigma_uS"), PCM_SIGMA_uS.items())
def test_pcm_sigma(g_uS: float, sigma_uS: float) -> None:
    cell = load_profile("pcm-ibm-2020").cell
    (effect,) = cell.programming_noise
    got = programming_sigma_uS(effect, torch.tensor(g_uS, dtype=torch.float64), cell)
    assert got.item() == pytest.approx(sigma_uS, rel=1e-9)


@pytest.mark.parametrize("g_uS", [6.25, 12.5, 25.0])
def test_pcm_draws(g_uS: float) -> None:
    cell = load_profile("pcm-ibm-2020").cell
    n = 200_000
    g = programmed_uS(torch.full((n,), g_uS, dtype=torch.float64), cell, seed=1)
    sigma = PCM_SIGMA_uS[g_uS]
    assert g.mean().item() == pytest.approx(g_uS, abs=4 * sigma / math.sqrt(n))
    assert g.std().item() == pytest.approx(sigma, rel=4 / math.sqrt(2 * n))


def test_the_off_cell_is_programmed_too_and_cannot_go_negative() -> None:
    cell = load_profile("pcm-ibm-2020").cell
    n = 200_000
    g = programmed_uS(torch.zeros(n, dtype=torch.float64), cell, seed=2)
    sigma = PCM_SIGMA_uS[0.0]
    # A normal of mean 0 clamped at 0 has mean s/sqrt(2 pi) and variance s^2 (1/2 - 1/(2 pi)).
    mean, std = sigma / math.sqrt(2 * math.pi), sigma * math.sqrt(0.5 - 0.5 / math.pi)
    assert (g >= 0).all()
    assert g.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(n))
    assert g.std().item() == pytest.approx(std, rel=0.01)


def test_gaussian_is_relative_to_g_max() -> None:
    cell = device(programming=[gaussian(0.03)], g_max_uS=40.0).cell
    g = programmed_uS(torch.full((100_000,), 20.0, dtype=torch.float64), cell, seed=3)
    assert g.std().item() == pytest.approx(0.03 * 40, rel=0.01)


@pytest.mark.parametrize("effect", [POLYNOMIAL, gaussian(0.05)], ids=lambda e: e["kind"])
def test_strength_scales_and_zero_is_absent(effect: dict[str, object]) -> None:
    target = torch.linspace(5, 20, 64, dtype=torch.float64)
    one, half, none = (
        programmed_uS(target, device(programming=[{**effect, "strength": s}]).cell, seed=4) - target
        for s in (1.0, 0.5, 0.0)
    )
    assert torch.allclose(half, one / 2)
    assert torch.equal(none, torch.zeros_like(none))


def test_effects_add_up_and_are_independent() -> None:
    two = device(programming=[gaussian(0.03), gaussian(0.04)]).cell
    g = programmed_uS(torch.full((200_000,), 12.5, dtype=torch.float64), two, seed=5)
    assert g.std().item() == pytest.approx(0.05 * 25, rel=0.01)
