"""A field of cells: seeds, and effects that leave each other's draws alone."""

import math

import pytest
import torch

from cimsim.physics import aged_uS, programmed_uS
from tests.building import POLYNOMIAL, POWER_LAW, device, gaussian
from tests.physics.kinds import LOG_RELAXATION


def test_a_seed_is_a_chip() -> None:
    cell = device(programming=[POLYNOMIAL], drift=[POWER_LAW]).cell
    g = torch.rand(64) * 25
    one, again, other = (programmed_uS(g, cell, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(aged_uS(one, g, cell, 1e4, 1), aged_uS(one, g, cell, 1e4, 1))
    assert not torch.equal(aged_uS(one, g, cell, 1e4, 1), aged_uS(one, g, cell, 1e4, 2))


def test_switching_one_effect_off_keeps_the_others_draws() -> None:
    g = torch.full((64,), 12.5, dtype=torch.float64)
    both = device(programming=[gaussian(0.01), gaussian(0.02)]).cell
    first_off = device(programming=[{**gaussian(0.01), "strength": 0.0}, gaussian(0.02)]).cell
    second_off = device(programming=[gaussian(0.01), {**gaussian(0.02), "strength": 0.0}]).cell
    sum_of_parts = programmed_uS(g, first_off, 1) - g + programmed_uS(g, second_off, 1)
    assert torch.allclose(programmed_uS(g, both, 1), sum_of_parts)


def test_no_effect_no_change_of_bits() -> None:
    cell = device(g_min_uS=1.0).cell
    g = torch.rand(64) * 25
    assert programmed_uS(g, cell, 0) is g
    assert aged_uS(g, g, cell, 1e6, 0) is g


N = 100_000


def test_errors_take_cells_below_the_lowest_target_and_above_the_highest() -> None:
    """To 45 as often as to 55: the range of targets is no bound of what a cell can hold."""
    cell = device(programming=[gaussian(0.05)], g_min_uS=50.0, g_max_uS=90.0).cell
    for target_uS in (50.0, 90.0):
        g = programmed_uS(torch.full((N,), target_uS, dtype=torch.float64), cell, 0)
        assert g.mean().item() == pytest.approx(target_uS, abs=4 * 4.5 / math.sqrt(N))
        assert g.std().item() == pytest.approx(4.5, rel=0.01)


@pytest.mark.parametrize(("floor_uS", "ceiling_uS"), [(None, None), (2.0, None), (8.0, 11.0)])
@pytest.mark.parametrize("effect", ["programming", "drift"])
def test_bounds_hold_every_error(
    floor_uS: float | None, ceiling_uS: float | None, effect: str
) -> None:
    """Moments of min(max(low, N(g, s)), high), against its integral."""
    sigma_uS = 5.0
    effects = {
        "programming": gaussian(sigma_uS / 11),
        "drift": {**LOG_RELAXATION, "sigma0_uS": sigma_uS, "slope_uS": 0.0, "shift_uS": 0.0},
    }
    made = {effect: [effects[effect]]}
    cell = device(g_min_uS=9.0, g_max_uS=11.0, **made).cell
    cell = cell.model_copy(update={"g_floor_uS": floor_uS, "g_ceiling_uS": ceiling_uS})
    low, high = floor_uS or 0.0, ceiling_uS or math.inf
    xi = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    mass = torch.exp(-xi.square() / 2)
    expected = (9.0 + sigma_uS * xi).clamp(low, high)
    mean = ((mass * expected).sum() / mass.sum()).item()
    std = math.sqrt(((mass * (expected - mean).square()).sum() / mass.sum()).item())
    target = torch.full((N,), 9.0, dtype=torch.float64)
    g = aged_uS(programmed_uS(target, cell, 0), target, cell, 10.0, 0)
    assert g.min() == low
    assert g.max() == high or high == math.inf
    assert g.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(N))
    assert g.std().item() == pytest.approx(std, rel=0.01)
