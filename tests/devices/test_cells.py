"""A field of cells: seeds, and effects that leave each other's draws alone."""

import torch

from cimsim.devices import aged_uS, programmed_uS
from tests.building import POLYNOMIAL, POWER_LAW, device, gaussian


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


def test_clamped_at_g_min() -> None:
    cell = device(programming=[gaussian(0.2)], g_min_uS=9.0, g_max_uS=90.0).cell
    assert (programmed_uS(torch.full((1000,), 9.0), cell, 0) >= 9.0).all()
