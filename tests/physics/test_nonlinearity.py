"""Currents that bend with voltage, against the equations by hand."""

import math

import pytest
import torch
from torch import Tensor

from cimsim.physics import iv_terms
from tests.building import device
from tests.physics.kinds import POLYNOMIAL_IV, SINH_IV

INPUTS = torch.linspace(-1.0, 1.0, 9, dtype=torch.float64)


def current_uA(effect: dict[str, object], u: Tensor, g_uS: float) -> Tensor:
    """What the terms of the law add up to, times the read voltage."""
    g = torch.tensor(g_uS, dtype=torch.float64)
    iv = device(iv=effect, dac=8).cell.iv
    assert iv is not None
    return iv.v_read_V * sum(
        (shape(u) * part for shape, part in iv_terms(iv, g)), torch.zeros_like(u)
    )


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("g_uS", [0.0, 5.0, 25.0])
def test_polynomial(g_uS: float, strength: float) -> None:
    v, r = 0.5 * INPUTS, g_uS / 25.0
    bend = 8.0 * r * v.abs() * v + (5.0 * r + 3.0 * r**2) * v**3
    found = current_uA({**POLYNOMIAL_IV, "strength": strength}, INPUTS, g_uS)
    assert torch.allclose(found, g_uS * v + strength * bend, rtol=1e-12)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("g_uS", [0.0, 5.0, 25.0])
def test_sinh(g_uS: float, strength: float) -> None:
    found = current_uA({**SINH_IV, "strength": strength}, INPUTS, g_uS)
    by_hand = [
        g_uS * (v + strength * (math.sinh(3.0 * v) / 3.0 - v)) for v in (0.5 * INPUTS).tolist()
    ]
    assert torch.allclose(found, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-12)


def test_a_sinh_that_does_not_bend_is_ohms_law() -> None:
    assert torch.equal(current_uA({**SINH_IV, "k_per_V": 0.0}, INPUTS, 8.0), 8.0 * 0.5 * INPUTS)


def test_a_sinh_switched_off_is_ohms_law_even_where_it_would_overflow() -> None:
    off = {**SINH_IV, "k_per_V": 1e4, "strength": 0.0}
    assert torch.equal(current_uA(off, INPUTS, 8.0), 8.0 * 0.5 * INPUTS)


@pytest.mark.parametrize("effect", [POLYNOMIAL_IV, SINH_IV], ids=lambda e: e["kind"])
def test_the_current_is_odd_in_the_voltage(effect: dict[str, object]) -> None:
    assert torch.allclose(current_uA(effect, -INPUTS, 8.0), -current_uA(effect, INPUTS, 8.0))


@pytest.mark.parametrize("effect", [POLYNOMIAL_IV, SINH_IV], ids=lambda e: e["kind"])
def test_a_column_is_a_few_products(effect: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    g = 25 * torch.rand(6, 4, dtype=torch.float64, generator=generator)
    u = 2 * torch.rand(10, 4, dtype=torch.float64, generator=generator) - 1
    iv = device(iv=effect, dac=8).cell.iv
    assert iv is not None
    terms = iv_terms(iv, g)
    column = sum((shape(u) @ part.T for shape, part in terms), torch.zeros(10, 6).double())
    cell_by_cell = torch.zeros(10, 6, dtype=torch.float64)
    for c in range(6):
        for r in range(4):
            cell_by_cell[:, c] += current_uA(effect, u[:, r], g[c, r].item()) / iv.v_read_V
    assert torch.allclose(column, cell_by_cell)
