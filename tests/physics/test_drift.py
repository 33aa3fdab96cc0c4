"""Drift against the published laws, written out by hand."""

import math

import pytest
import torch

from cimsim.physics import aged_uS
from cimsim.physics.drift import drift_exponent, drifted_uS, relaxation_uS
from cimsim.profile import PowerLawDrift, load_profile
from tests.building import POWER_LAW, device
from tests.physics.kinds import FALLING, LOG_RELAXATION, TABULATED

N = 200_000

# mu and s of nu at r = 0.04, 0.2, 1, from the clipped logarithms of the profile by hand
PCM_NU = {1.0: (0.0742926, 0.0343359), 5.0: (0.0493463, 0.0142180), 25.0: (0.049, 0.008)}


@pytest.mark.parametrize(("g_uS", "law"), PCM_NU.items())
def test_pcm_exponents(g_uS: float, law: tuple[float, float]) -> None:
    (effect,) = load_profile("pcm-ibm-2020").cell.drift
    assert isinstance(effect, PowerLawDrift)
    g = torch.tensor(g_uS, dtype=torch.float64)
    mean = drift_exponent(effect, g, torch.zeros_like(g)).item()
    plus = drift_exponent(effect, g, torch.ones_like(g)).item()
    assert mean == pytest.approx(law[0], abs=1e-6)
    assert plus - mean == pytest.approx(law[1], abs=1e-6)


@pytest.mark.parametrize("age_s", [0.0, 1.0, 3600.0, 86400.0, 3.15576e8])
def test_power_law_without_spread(age_s: float) -> None:
    cell = device(drift=[{**POWER_LAW, "spread_strength": 0.0}]).cell
    g = torch.tensor([5.0, 25.0], dtype=torch.float64)
    got = aged_uS(g, g, cell, age_s, seed=0)
    nus = torch.tensor([PCM_NU[5.0][0], PCM_NU[25.0][0]], dtype=torch.float64)
    assert torch.allclose(got, g * (1 + age_s / 20.0) ** -nus, rtol=1e-6)


def test_no_time_no_drift() -> None:
    cell = device(drift=[POWER_LAW]).cell
    g = torch.rand(100) * 25
    assert torch.equal(aged_uS(g, g, cell, 0.0, seed=0), g)


def test_a_chip_keeps_its_exponents_as_it_ages() -> None:
    cell = device(drift=[POWER_LAW]).cell
    g = torch.full((1000,), 10.0, dtype=torch.float64)
    day, year = (torch.log(aged_uS(g, g, cell, t, seed=7) / g) for t in (86400.0, 3.15576e7))
    ratio = math.log1p(3.15576e7 / 20) / math.log1p(86400 / 20)
    assert torch.allclose(year, day * ratio)


WAN_SIGMA_uS = {  # 4th-order fits of Wan et al. 2022, at r = 0.25 and 0.5 of 40 uS
    (1.0, 10.0): 2.25826953125,
    (1.0, 20.0): 2.022937500,
    (86400.0, 10.0): 3.7207578125,
    (172800.0, 20.0): 3.929125,
}


@pytest.mark.parametrize(("at", "sigma_uS"), WAN_SIGMA_uS.items())
def test_wan_spread(at: tuple[float, float], sigma_uS: float) -> None:
    (effect,) = load_profile("reram-wan-2022").cell.drift
    age_s, g_uS = at
    shift, got = relaxation_uS(effect, torch.tensor(g_uS, dtype=torch.float64), age_s)
    assert shift.item() == 0.0
    assert got.item() == pytest.approx(sigma_uS, rel=1e-6)


def test_wan_spread_between_and_outside_its_times() -> None:
    (effect,) = load_profile("reram-wan-2022").cell.drift
    g = torch.tensor(20.0, dtype=torch.float64)
    first, day, two_days = (relaxation_uS(effect, g, t)[1].item() for t in (1.0, 86400.0, 172800.0))
    halfway = relaxation_uS(effect, g, math.sqrt(86400.0))[1].item()
    assert halfway == pytest.approx((first + day) / 2)
    assert relaxation_uS(effect, g, 0.0)[1].item() == first
    assert relaxation_uS(effect, g, 1e9)[1].item() == two_days


@pytest.mark.parametrize("name", ["pcm-ibm-2020", "reram-wan-2022"])
def test_strength_zero_is_absent(name: str) -> None:
    (effect,) = load_profile(name).cell.drift
    off = effect.model_copy(update={"strength": 0.0})
    g = torch.rand(50) * 25
    assert torch.equal(drifted_uS(off, g, g, 86400.0, 0), g)


@pytest.mark.parametrize(("g_uS", "law"), PCM_NU.items())
def test_exponents_differ_from_cell_to_cell_as_published(
    g_uS: float, law: tuple[float, float]
) -> None:
    cell = device(drift=[POWER_LAW]).cell
    g = torch.full((N,), g_uS, dtype=torch.float64)
    nu = -torch.log(aged_uS(g, g, cell, 86400.0, seed=1) / g) / math.log1p(86400.0 / 20.0)
    mu, s = law
    # The absolute value of a normal: a folded normal.
    mean = s * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * s**2)) + mu * math.erf(
        mu / (s * math.sqrt(2))
    )
    std = math.sqrt(mu**2 + s**2 - mean**2)
    assert (nu >= 0).all()
    assert nu.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(N) + 1e-6)
    assert nu.std().item() == pytest.approx(std, rel=0.01)


def test_strength_scales_the_exponent_with_its_spread() -> None:
    g = torch.full((1000,), 10.0, dtype=torch.float64)
    whole, half = (
        torch.log(aged_uS(g, g, device(drift=[{**POWER_LAW, "strength": s}]).cell, 3600.0, 2) / g)
        for s in (1.0, 0.5)
    )
    assert torch.allclose(half, whole / 2)


# Mean change and spread in µS of cells at 10 µS by age in s, from the equations by hand.
L = math.log(1000.0 / 10.0)
SATURATING_uS = 0.9 * (1 - math.exp(-0.4 / 0.4))  # at r = 0.4
TABLE_uS = 0.8 - 0.3 * 0.1 / 0.7
CHANGES_uS = [
    (LOG_RELAXATION, 0.0, 0.0, 0.3),
    (LOG_RELAXATION, 10.0, 0.0, 0.3),
    (LOG_RELAXATION, 1000.0, -0.08 * L, 0.3 + 0.02 * L),
    ({**LOG_RELAXATION, "slope_uS": -0.2}, 1000.0, -0.08 * L, 0.0),
    ({**LOG_RELAXATION, "strength": 2.0, "spread_strength": 0.5}, 10.0, 0.0, 0.3),
    (TABULATED, 0.0, -0.24, 0.26),
    (TABULATED, 10.0, -0.24, (0.26 + SATURATING_uS) / 2),
    (TABULATED, 1000.0, (-0.24 - 0.46) / 2, (SATURATING_uS + TABLE_uS) / 2),
    (TABULATED, 1e9, -0.46, TABLE_uS),
    ({**TABULATED, "strength": 0.5}, 1e9, -0.23, TABLE_uS / 2),
    ({**TABULATED, "sigma_uS": [FALLING] * 3}, 1.0, -0.24, 0.0),
]


@pytest.mark.parametrize(("effect", "age_s", "shift_uS", "sigma_uS"), CHANGES_uS)
def test_relaxation_has_the_mean_and_spread_of_its_equation(
    effect: dict[str, object], age_s: float, shift_uS: float, sigma_uS: float
) -> None:
    cell = device(drift=[effect]).cell
    g = torch.full((N,), 10.0, dtype=torch.float64)
    change = aged_uS(g, g, cell, age_s, seed=3) - g
    assert change.mean().item() == pytest.approx(shift_uS, abs=4 * sigma_uS / math.sqrt(N) + 1e-9)
    assert change.std().item() == pytest.approx(sigma_uS, rel=0.01, abs=1e-9)


def test_the_change_depends_on_the_target_and_adds_to_what_was_programmed() -> None:
    cell = device(drift=[{**TABULATED, "spread_strength": 0.0}]).cell
    programmed, target = torch.tensor([12.0, 3.0]), torch.tensor([10.0, 10.0])
    change = aged_uS(programmed, target, cell, 1.0, seed=4) - programmed
    assert torch.allclose(change, torch.tensor(-0.24))


def test_a_cell_keeps_its_direction_as_it_relaxes() -> None:
    cell = device(drift=[{**LOG_RELAXATION, "shift_uS": 0.0}]).cell
    g = torch.full((1000,), 10.0, dtype=torch.float64)
    early, late = (aged_uS(g, g, cell, t, seed=5) - g for t in (10.0, 1000.0))
    assert torch.allclose(late, early * (0.3 + 0.02 * L) / 0.3)
