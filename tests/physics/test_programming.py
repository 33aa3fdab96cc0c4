"""Programming noise against the published polynomials, written out by hand."""

import math

import pytest
import torch
from scipy.stats import kstest, norm, truncnorm

from cimsim.physics import programmed_uS
from cimsim.physics.programming import programming_sigma_uS, truncated_normal
from cimsim.profile import load_profile
from cimsim.seeds import generator
from tests.building import POLYNOMIAL, device, gaussian
from tests.physics.kinds import BIASED, RELATIVE

N = 200_000

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
    g = programmed_uS(torch.full((N,), g_uS, dtype=torch.float64), cell, seed=1)
    sigma = PCM_SIGMA_uS[g_uS]
    assert g.mean().item() == pytest.approx(g_uS, abs=4 * sigma / math.sqrt(N))
    assert g.std().item() == pytest.approx(sigma, rel=4 / math.sqrt(2 * N))


def test_the_off_cell_is_programmed_too_and_cannot_go_negative() -> None:
    cell = load_profile("pcm-ibm-2020").cell
    g = programmed_uS(torch.zeros(N, dtype=torch.float64), cell, seed=2)
    sigma = PCM_SIGMA_uS[0.0]
    # A normal of mean 0 clamped at 0 has mean s/sqrt(2 pi) and variance s^2 (1/2 - 1/(2 pi)).
    mean, std = sigma / math.sqrt(2 * math.pi), sigma * math.sqrt(0.5 - 0.5 / math.pi)
    assert (g >= 0).all()
    assert g.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(N))
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


# Kinds of programming noise at g in µS: the mean error and the spread in µS, by hand.
ERRORS_uS = [
    (BIASED, 5.0, 0.2 + 0.6 * 0.25 / 0.3, 0.9 * (1 - math.exp(-0.25 / 0.4))),
    (BIASED, 10.0, -0.6 * 0.5, 0.9 * (1 - math.exp(-0.5 / 0.4))),
    (BIASED, 20.0, -0.6 * 1.0, 0.9 * (1 - math.exp(-1.0 / 0.4))),
    (RELATIVE, 10.0, 0.0, 0.05 * 10.0),
    (gaussian(0.05), 10.0, 0.0, 0.05 * 25.0),
]


@pytest.mark.parametrize(("effect", "g_uS", "mean_uS", "sigma_uS"), ERRORS_uS)
def test_draws_have_the_published_mean_and_spread(
    effect: dict[str, object], g_uS: float, mean_uS: float, sigma_uS: float
) -> None:
    cell = device(programming=[effect]).cell
    target = torch.full((N,), g_uS, dtype=torch.float64)
    error = programmed_uS(target, cell, seed=6) - target
    assert error.mean().item() == pytest.approx(mean_uS, abs=4 * sigma_uS / math.sqrt(N))
    assert error.std().item() == pytest.approx(sigma_uS, rel=0.01)
    assert kstest(error, norm(mean_uS, sigma_uS).cdf).pvalue > 0.001


def test_a_spread_below_zero_is_none() -> None:
    below = {"kind": "polynomial", "coefficients": [-1.0]}
    target = torch.full((10,), 5.0)
    cell = device(programming=[{**POLYNOMIAL, "sigma_uS": below}]).cell
    assert torch.equal(programmed_uS(target, cell, seed=0), target)


# bias, sigma and window: wide, narrow, one-sided, and far out in either tail
WINDOWS = [
    (0.0, 1.0, 3.0),
    (0.0, 1.0, 0.1),
    (0.4, 1.0, 0.5),
    (-2.0, 0.5, 1.0),
    (10.0, 1.0, 1.0),
    (-35.0, 1.0, 1.0),
    (0.0, 1e3, 1.0),
    (0.0, 1e-3, 1.0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("bias", "sigma", "window"), WINDOWS)
def test_a_cut_off_normal_is_exactly_that(
    bias: float, sigma: float, window: float, dtype: torch.dtype
) -> None:
    mean = torch.full((20_000,), bias, dtype=dtype, requires_grad=True)
    spread = torch.full((20_000,), sigma, dtype=dtype, requires_grad=True)
    drawn = truncated_normal(mean, spread, window, generator("window"))
    law = truncnorm((-window - bias) / sigma, (window - bias) / sigma, bias, sigma)
    assert drawn.dtype == dtype
    assert drawn.abs().max() <= window
    assert kstest(drawn.detach().double(), law.cdf).pvalue > 0.001
    drawn.sum().backward()
    assert mean.grad is not None
    assert spread.grad is not None
    assert mean.grad.isfinite().all()
    assert spread.grad.isfinite().all()


def test_the_gradient_of_a_cut_off_normal_is_that_of_the_same_draw() -> None:
    bias = torch.tensor([-3.0, -0.3, -0.01, 0.01, 0.2, 6.0], dtype=torch.float64).requires_grad_()
    sigma = torch.tensor([0.5, 1.0, 2.0, 0.1, 0.3, 1.0], dtype=torch.float64).requires_grad_()

    def draw(b: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return truncated_normal(b, s, 0.5, generator("window"))

    assert torch.autograd.gradcheck(draw, (bias, sigma))


def test_a_cut_off_normal_without_spread_is_its_bias_held_in_the_window() -> None:
    bias = torch.tensor([-9.0, -0.5, 0.0, 0.5, 9.0], requires_grad=True)
    sigma = torch.zeros(5, requires_grad=True)
    held = truncated_normal(bias, sigma, 1.0, generator("window"))
    assert torch.equal(held, torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    held.sum().backward()
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))
    assert sigma.grad is not None
    assert sigma.grad.isfinite().all()


def test_a_window_out_of_reach_leaves_its_nearer_edge() -> None:
    bias = torch.tensor([-1e3, -39.2, 39.2, 1e3], dtype=torch.float64, requires_grad=True)
    sigma = torch.ones(4, dtype=torch.float64, requires_grad=True)
    held = truncated_normal(bias, sigma, 1.0, generator("window"))
    assert torch.equal(held, torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    held.sum().backward()
    assert bias.grad is not None
    assert sigma.grad is not None
    assert bias.grad.isfinite().all()
    assert sigma.grad.isfinite().all()


def test_nothing_jumps_where_the_bias_changes_its_sign() -> None:
    sigma = torch.ones(1000, dtype=torch.float64)
    below, above = (
        truncated_normal(torch.full_like(sigma, b), sigma, 1.0, generator("window"))
        for b in (-1e-9, 1e-9)
    )
    assert torch.allclose(below, above, atol=1e-8)


def test_write_verify_cuts_off_the_sum_of_all_errors() -> None:
    effects = [BIASED, gaussian(0.03)]
    cell = device(programming=effects, verify_uS=0.5).cell
    target = torch.full((N,), 10.0, dtype=torch.float64)
    error = programmed_uS(target, cell, seed=7) - target
    _, _, bias, sigma = ERRORS_uS[1]
    total = math.hypot(sigma, 0.03 * 25)
    law = truncnorm((-0.5 - bias) / total, (0.5 - bias) / total, bias, total)
    assert error.abs().max() <= 0.5 + 1e-12
    assert kstest(error, law.cdf).pvalue > 0.001
    assert error.std().item() == pytest.approx(law.std(), rel=0.01)


def test_write_verify_is_differentiable_where_no_cell_is_noisy() -> None:
    cell = device(programming=[RELATIVE, RELATIVE], verify_uS=0.5).cell
    target = torch.linspace(0.0, 25.0, 64).requires_grad_()
    programmed_uS(target, cell, seed=8).sum().backward()
    assert target.grad is not None
    assert target.grad.isfinite().all()


def test_write_verify_accepts_everything_within_a_wide_window() -> None:
    cell = device(programming=[gaussian(0.02)], verify_uS=100.0).cell
    target = torch.full((N,), 12.0, dtype=torch.float64)
    error = programmed_uS(target, cell, seed=9) - target
    assert kstest(error, norm(0.0, 0.5).cdf).pvalue > 0.001
