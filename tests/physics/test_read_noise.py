"""Read noise against the published law, written out by hand."""

import math

import pytest
import torch
from scipy.stats import kstest, norm

from cimsim.physics import (
    ReadContext,
    read_variance_uS2,
    sampled_reads_uS,
    telegraph_step_uS,
)
from cimsim.profile import TelegraphReadNoise, load_profile
from cimsim.seeds import generator
from tests.building import ONE_OVER_F, device, gaussian
from tests.physics.kinds import (
    ABSOLUTE_ONE_OVER_F,
    HOT_C,
    RELATIVE,
    STATE_DEPENDENT_READ,
    TELEGRAPH,
    THERMAL,
)

N = 200_000


@pytest.mark.parametrize("age_s", [0.0, 3600.0, 3.15576e7])
@pytest.mark.parametrize(("g_uS", "q"), [(0.05, 0.2), (2.5, 0.0088 / 0.1**0.65), (25.0, 0.0088)])
def test_pcm_read_noise(g_uS: float, q: float, age_s: float) -> None:
    cell = load_profile("pcm-ibm-2020").cell
    g = torch.tensor(g_uS, dtype=torch.float64)
    variance = read_variance_uS2(ReadContext(g, g, cell, age_s), sessions=True)
    assert variance is not None
    sigma = g_uS * q * math.sqrt(math.log((age_s + 20 + 250e-9) / (2 * 250e-9)))
    assert variance.sqrt().item() == pytest.approx(sigma, rel=1e-9)


def test_effects_add_in_variance() -> None:
    cell = device(read=[gaussian(0.03), gaussian(0.04)]).cell
    g = torch.full((3,), 10.0)
    variance = read_variance_uS2(ReadContext(g, g, cell, 0.0))
    assert variance is not None
    assert torch.allclose(variance, torch.full((3,), (0.05 * 25) ** 2))


@pytest.mark.parametrize("effect", [ONE_OVER_F, gaussian(0.1)], ids=lambda e: e["kind"])
def test_strength_zero_is_absent(effect: dict[str, object]) -> None:
    g = torch.full((3,), 10.0)
    assert (
        read_variance_uS2(ReadContext(g, g, device(read=[{**effect, "strength": 0.0}]).cell, 0.0))
        is None
    )
    assert read_variance_uS2(ReadContext(g, g, device().cell, 0.0)) is None


GROWTH = math.sqrt(math.log((3600.0 + 250e-9) / (2 * 250e-9)))
# sqrt(4 k T g B) / v at 10 uS, 85 C, 10 ns and 0.2 V
THERMAL_S = math.sqrt(4 * 1.380649e-23 * 358.15 * 10e-6 * (1 / (2 * 10e-9))) / 0.2
# Spread in µS of cells at 10 µS after an hour at 85 °C, from the equations by hand.
SIGMAS_uS = [
    (ABSOLUTE_ONE_OVER_F, 0.05 * math.sqrt(0.4) * GROWTH),
    (STATE_DEPENDENT_READ, 0.8 - 0.3 * 0.1 / 0.7),
    (RELATIVE, 0.05 * 10.0),
    (gaussian(0.05), 0.05 * 25.0),
    (THERMAL, THERMAL_S * 1e6),
    ({**THERMAL, "strength": 3.0}, 3 * THERMAL_S * 1e6),
]


@pytest.mark.parametrize(("effect", "sigma_uS"), SIGMAS_uS)
def test_each_kind_has_the_spread_of_its_equation(
    effect: dict[str, object], sigma_uS: float
) -> None:
    cell = device(read=[effect]).cell
    g = torch.tensor(10.0, dtype=torch.float64)
    variance = read_variance_uS2(ReadContext(g, g, cell, 3600.0, HOT_C), sessions=True)
    assert variance is not None
    assert variance.sqrt().item() == pytest.approx(sigma_uS, rel=1e-9)
    many = g.expand(N)
    noise = (
        sampled_reads_uS(ReadContext(many, many, cell, 3600.0, HOT_C), 0, generator("read"), 1)[0]
        - many
    )
    assert noise.mean().item() == pytest.approx(0.0, abs=4 * sigma_uS / math.sqrt(N))
    assert noise.std().item() == pytest.approx(sigma_uS, rel=0.01)
    assert kstest(noise, norm(0.0, sigma_uS).cdf).pvalue > 0.001


def test_flicker_noise_has_not_begun_before_the_first_read_pulse_is_over() -> None:
    g = torch.full((4,), 10.0)
    for effect in ({**ONE_OVER_F, "t0_s": 0.0}, ABSOLUTE_ONE_OVER_F):
        variance = read_variance_uS2(ReadContext(g, g, device(read=[effect]).cell, 0.0))
        assert variance is not None
        assert torch.equal(variance, torch.zeros(4))


def test_the_size_of_flicker_noise_follows_the_target_or_the_present_state() -> None:
    now, target = torch.tensor(5.0, dtype=torch.float64), torch.tensor(10.0, dtype=torch.float64)
    of_target = read_variance_uS2(ReadContext(now, target, device(read=[ONE_OVER_F]).cell))
    of_now = read_variance_uS2(ReadContext(now, target, device(read=[STATE_DEPENDENT_READ]).cell))
    assert of_target is not None
    assert of_now is not None
    growth = math.log((1e-4 + 250e-9) / (2 * 250e-9))  # from read to read within a session
    assert of_target.item() == pytest.approx((5.0 * 0.0088 * 0.4**-0.65) ** 2 * growth)
    assert of_now.item() == pytest.approx((0.2 + 0.6 * 0.2 / 0.3) ** 2)


def test_the_slow_reference_has_the_variance_of_all_gaussian_kinds_together() -> None:
    effects = [effect for effect, _ in SIGMAS_uS]
    cell = device(read=[*effects, ONE_OVER_F]).cell
    g = torch.tensor([0.0, 0.5, 5.0, 20.0], dtype=torch.float64)
    variance = read_variance_uS2(ReadContext(g, g, cell, 3600.0, HOT_C))
    assert variance is not None
    reads = sampled_reads_uS(ReadContext(g, g, cell, 3600.0, HOT_C), 0, generator("read"), N)
    assert torch.allclose(reads.var(0), variance, rtol=4 * math.sqrt(2 / N))
    # Each cell has an offset of its own in all reads: the slow part.
    ever = read_variance_uS2(ReadContext(g, g, cell, 3600.0, HOT_C), sessions=True)
    assert ever is not None
    assert ((reads.mean(0) - g).abs() < 4 * (ever - variance + variance / N).sqrt()).all()
    assert ((reads.mean(0) - g)[1:].abs() > 4 * (variance[1:] / N).sqrt()).all()


def test_each_read_is_a_new_draw() -> None:
    g = torch.full((N,), 10.0)
    reads = sampled_reads_uS(
        ReadContext(g, g, device(read=[RELATIVE]).cell), 0, generator("read"), 2
    )
    first, second = reads - g
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert abs(correlation.item()) < 4 / math.sqrt(N)


def test_a_trap_makes_two_states_with_the_mean_of_none() -> None:
    cell = device(read=[TELEGRAPH]).cell
    g = torch.full((200,), 10.0, dtype=torch.float64)
    reads = sampled_reads_uS(ReadContext(g, g, cell), 3, generator("read"), 10_000)
    step, p = 0.1 * 10.0, 0.2
    trapped = (reads != g).any(0)
    assert torch.equal(reads[:, ~trapped], g[~trapped].expand(10_000, -1))
    noise = reads[:, trapped] - 10.0
    low, high = -step * (1 - p), step * p
    is_low = (noise - low).abs() < 1e-9
    assert (is_low | ((noise - high).abs() < 1e-9)).all()
    n = noise.numel()
    assert is_low.double().mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))
    variance = step**2 * p * (1 - p)
    assert noise.mean().item() == pytest.approx(0.0, abs=4 * math.sqrt(variance / n))
    assert noise.var().item() == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_as_many_cells_have_a_trap_as_asked_for(share: float) -> None:
    profile = device(read=[{**TELEGRAPH, "share_of_cells": share}])
    (effect,) = profile.cell.read_noise
    assert isinstance(effect, TelegraphReadNoise)
    step = telegraph_step_uS(effect, torch.full((N,), 10.0, dtype=torch.float64), generator("trap"))
    trapped = step > 0
    assert torch.allclose(step[trapped], torch.tensor(1.0, dtype=torch.float64))
    found = trapped.double().mean().item()
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / N))


def test_a_chip_keeps_its_traps_whatever_their_strength_and_the_read() -> None:
    g = torch.full((1000,), 10.0)

    def trapped(strength: float, read: str, seed: int = 3) -> torch.Tensor:
        cell = device(read=[{**TELEGRAPH, "strength": strength}]).cell
        return (sampled_reads_uS(ReadContext(g, g, cell), seed, generator(read), 1000) != g).any(0)

    assert torch.equal(trapped(1.0, "one"), trapped(0.1, "other"))
    assert not torch.equal(trapped(1.0, "one"), trapped(1.0, "one", seed=4))


def test_telegraph_noise_is_not_part_of_the_gaussian_variance() -> None:
    g = torch.full((3,), 10.0)
    assert read_variance_uS2(ReadContext(g, g, device(read=[TELEGRAPH]).cell, 0.0)) is None
