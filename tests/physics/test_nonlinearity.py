"""Currents that bend with voltage, against the equations by hand."""

import math

import pytest
import torch
from torch import Tensor

from cimsim.physics import iv_terms
from tests.building import device
from tests.physics.kinds import POLYNOMIAL_IV, POOLE_FRENKEL_IV, SINH_IV

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


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("g_uS", [0.0, 5.0, 25.0])
def test_poole_frenkel_without_spread(g_uS: float, strength: float) -> None:
    """One barrier for all cells, so that one term is enough."""
    same = {**POOLE_FRENKEL_IV, "strength": strength, "spread_strength": 0.0}
    found = current_uA(same, INPUTS, g_uS)
    r = max(g_uS / 25.0, 0.05)
    c_uS, beta = (15.0 * r**1.1 if g_uS else 0.0), 1.5 * r**-0.1
    by_hand = [
        g_uS * v + strength * (c_uS * v * math.exp(beta * math.sqrt(abs(v))) - g_uS * v)
        for v in (0.5 * INPUTS).tolist()
    ]
    assert torch.allclose(found, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-6)


def test_poole_frenkel_cells_deviate_as_configured() -> None:
    """Two voltages separate the deviations: ln(I / V) = ln c + beta sqrt(V)."""
    iv = device(iv=POOLE_FRENKEL_IV, dac=8).cell.iv
    assert iv is not None
    g = torch.full((200_000,), 25.0, dtype=torch.float64)
    terms = iv_terms(iv, g, seed=3)

    def log_conductance(u: float) -> Tensor:
        at = torch.tensor(u, dtype=torch.float64)
        return torch.log(sum((f(at) * part for f, part in terms), torch.zeros_like(g)) / u)

    far, near = log_conductance(1.0), log_conductance(0.25)  # the roots are 1 and 1 / 2
    barrier = 2 * (far - near)
    prefactor = far - barrier
    ln_beta = torch.log(barrier / math.sqrt(0.5))
    assert prefactor.mean().item() == pytest.approx(math.log(15.0), abs=1e-3)
    assert prefactor.std().item() == pytest.approx(0.1, rel=0.01)
    assert ln_beta.mean().item() == pytest.approx(math.log(1.5), abs=2e-3)
    assert ln_beta.std().item() == pytest.approx(0.2, rel=0.01)
    both = torch.stack((prefactor, ln_beta))
    assert torch.corrcoef(both)[0, 1].item() == pytest.approx(-0.8, abs=0.01)


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2, 0.35])
def test_currents_of_all_barriers_are_exact_within_a_millionth(sigma: float) -> None:
    wide = {**POOLE_FRENKEL_IV, "sigma_ln_beta": sigma, "sigma_ln_c": 0.0, "correlation": 0.0}
    iv = device(iv=wide, dac=8).cell.iv
    assert iv is not None
    g = torch.full((20_000,), 25.0, dtype=torch.float64)
    terms = iv_terms(iv, g, seed=1)
    at = {u: sum((f(torch.tensor(u)) * part for f, part in terms), 0 * g) for u in (0.25, 0.5, 1.0)}
    lowered = 2 * torch.log(at[1.0] / at[0.25] / 4)
    expected = 15.0 * 0.5 * torch.exp(lowered * math.sqrt(0.5))
    assert torch.allclose(at[0.5], expected, rtol=5e-6)


def test_terms_that_share_their_powers_are_those_computed_alone() -> None:
    iv = device(iv=POOLE_FRENKEL_IV, dac=8).cell.iv
    assert iv is not None
    terms = iv_terms(iv, torch.full((1000,), 25.0, dtype=torch.float64), seed=1)
    assert len(terms) > 5
    alone = [shape(INPUTS.clone()) for shape, _ in terms]
    for order in (terms, terms[::-1], terms):
        shared = {id(shape): shape(INPUTS) for shape, _ in order}
        for (shape, _), expected in zip(terms, alone, strict=True):
            assert torch.allclose(shared[id(shape)], expected, rtol=1e-12)


def test_a_barrier_that_would_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma_ln_beta"):
        device(iv={**POOLE_FRENKEL_IV, "sigma_ln_beta": 1.0}, dac=8)
    with pytest.raises(ValueError, match="sigma_ln_c"):
        device(iv={**POOLE_FRENKEL_IV, "sigma_ln_c": 20.0}, dac=8)


def test_the_slope_at_zero_input_is_finite() -> None:
    iv = device(iv=POOLE_FRENKEL_IV, dac=8).cell.iv
    assert iv is not None
    u = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    g = torch.tensor([0.0, 5.0, 25.0], dtype=torch.float64, requires_grad=True)
    total = sum((f(u) * part for f, part in iv_terms(iv, g)), torch.zeros_like(u)).sum()
    slopes = torch.autograd.grad(total, (u, g))
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize(
    "effect", [POLYNOMIAL_IV, SINH_IV, POOLE_FRENKEL_IV], ids=lambda e: e["kind"]
)
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
