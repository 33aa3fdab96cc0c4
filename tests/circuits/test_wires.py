"""IR drop against independent solutions of the same network."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cimsim.circuits import (
    approximate_effective_conductance,
    effective_conductance,
    gated_currents,
)
from cimsim.errors import CimsimError
from tests.circuits.nodal import nodal_conductance

NAMES = ("r_word_ohm", "r_bit_ohm", "r_source_ohm", "r_sink_ohm")


def cells(rows: int, columns: int, seed: int = 0, open_share: float = 0.1) -> Tensor:
    """Conductances of 1 to 25 uS, some of them open."""
    rng = np.random.default_rng(seed)
    g = rng.uniform(1e-6, 25e-6, (rows, columns))
    g[rng.random((rows, columns)) < open_share] = 0.0
    return torch.from_numpy(g)


def solved(g: Tensor, *ohms: float) -> Tensor:
    return effective_conductance(g, **dict(zip(NAMES, ohms, strict=True)))


def deviation(g: Tensor, *ohms: float) -> float:
    """From the sparse solution, relative to its largest element."""
    reference = nodal_conductance(g.double().numpy(), *ohms)
    return float(np.abs(solved(g, *ohms).double().numpy() - reference).max() / reference.max())


RANDOM = np.random.default_rng(1)
CONFIGURATIONS = [
    (
        int(RANDOM.integers(1, 40)),
        int(RANDOM.integers(1, 40)),
        *(float(ohm) for ohm in 10 ** RANDOM.uniform(-3, 4, 4)),
    )
    for _ in range(20)
]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=range(20))
def test_it_is_the_nodal_solution(
    configuration: tuple[int, int, float, float, float, float],
) -> None:
    rows, columns, *ohms = configuration
    assert deviation(cells(rows, columns, seed=rows), *ohms) < 1e-9


@pytest.mark.parametrize("ohms", list(itertools.product([0.0, 30.0], repeat=4)))
@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (1, 4), (4, 1), (1, 1)])
def test_every_wire_may_have_no_resistance(
    shape: tuple[int, int], ohms: tuple[float, float, float, float]
) -> None:
    g = cells(*shape, open_share=0.0)
    assert deviation(g, *ohms) < 1e-12
    if not any(ohms):
        assert torch.equal(solved(g, *ohms), g)


@pytest.mark.parametrize("ohm", [1e-6, 1.0, 1e3, 1e6])
def test_resistances_of_any_size(ohm: float) -> None:
    assert deviation(cells(20, 30), ohm, ohm, ohm, ohm) < 1e-9


def test_open_cells_rows_columns_and_crossbars() -> None:
    g = cells(12, 9, open_share=0.5)
    g[3] = 0.0
    g[:, 4] = 0.0
    assert deviation(g, 10.0, 20.0, 5.0, 5.0) < 1e-12
    assert (solved(g, 10.0, 20.0, 5.0, 5.0)[:, 4] == 0).all()
    nothing = torch.zeros(3, 4, dtype=torch.float64)
    assert torch.equal(solved(nothing, 1.0, 1.0, 1.0, 1.0), nothing)


@pytest.mark.parametrize("shape", [(128, 128), (256, 256), (200, 40)])
def test_large_crossbars_in_both_precisions(shape: tuple[int, int]) -> None:
    g = cells(*shape)
    reference = nodal_conductance(g.numpy(), 1.0, 2.0, 20.0, 10.0)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-6)):
        ours = solved(g.to(dtype), 1.0, 2.0, 20.0, 10.0)
        assert ours.dtype == dtype
        assert np.abs(ours.double().numpy() - reference).max() < tolerance * reference.max()


def test_one_cell_is_a_series_circuit() -> None:
    g = torch.tensor([[2e-3]], dtype=torch.float64)
    total = 1 / 2e-3 + (1.0 + 100.0) + (3.0 + 400.0)
    assert solved(g, 1.0, 3.0, 100.0, 400.0).item() == pytest.approx(1 / total, rel=1e-14)


def test_the_source_resists_in_the_first_segment_of_every_row() -> None:
    """With the only resistance in the sources, row i is a divider of R and all of its cells."""
    g = cells(6, 4)
    expected = g / (1.0 + 500.0 * g.sum(1, keepdim=True))
    assert torch.allclose(solved(g, 0.0, 0.0, 500.0, 0.0), expected, rtol=1e-13)


def test_rows_and_columns_are_reciprocal() -> None:
    """Turned by 180 degrees and transposed, with word and bit lines exchanged, it is the same."""
    g = cells(6, 9)
    turned = solved(g.flip(0, 1).T, 3.0, 2.0, 50.0, 40.0)
    assert torch.allclose(solved(g, 2.0, 3.0, 40.0, 50.0), turned.T.flip(0, 1), rtol=1e-12)


def test_a_batch_is_a_loop() -> None:
    g = torch.stack([cells(5, 8, seed) for seed in range(6)]).view(2, 3, 5, 8)
    each = [solved(one, 5.0, 6.0, 7.0, 8.0) for one in g.flatten(0, 1)]
    assert torch.allclose(solved(g, 5.0, 6.0, 7.0, 8.0).flatten(0, 1), torch.stack(each))


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.tuples(*[st.floats(0, 1e5)] * 4),
    st.integers(0, 99),
)
def test_wires_only_take_away(
    rows: int, columns: int, ohms: tuple[float, float, float, float], seed: int
) -> None:
    g = cells(rows, columns, seed)
    effective = solved(g, *ohms)
    assert (effective >= 0).all()
    assert effective.sum() <= g.sum() * (1 + 1e-12)
    more = solved(g, *(ohm * 2 for ohm in ohms))
    assert more.sum() <= effective.sum() * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (1, 3), (3, 1)])
@pytest.mark.parametrize("ohms", [(1e4, 2e4, 3e4, 1e4), (0.0, 2e4, 0.0, 0.0), (1e4, 0.0, 0.0, 0.0)])
def test_the_gradient_is_that_of_the_network(
    shape: tuple[int, int], ohms: tuple[float, float, float, float]
) -> None:
    g = (cells(*shape, open_share=0.0) * 1e5).requires_grad_()  # siemens of order one
    small = tuple(ohm * 1e-5 for ohm in ohms)
    assert torch.autograd.gradcheck(lambda g: solved(g, *small), g)


def test_the_gradient_against_the_sparse_solution() -> None:
    g = cells(12, 10)
    weights = torch.from_numpy(np.random.default_rng(5).normal(size=(12, 10)))
    leaf = g.clone().requires_grad_()
    (solved(leaf, 40.0, 50.0, 60.0, 70.0) * weights).sum().backward()
    assert leaf.grad is not None
    for i, j in ((0, 0), (5, 7), (11, 9)):
        bumped = []
        for sign in (1, -1):
            moved = g.clone().numpy()
            moved[i, j] += sign * 1e-8 + (1e-8 if moved[i, j] == 0 else 0)
            bumped.append(
                (nodal_conductance(moved, 40.0, 50.0, 60.0, 70.0) * weights.numpy()).sum()
            )
        assert leaf.grad[i, j].item() == pytest.approx((bumped[0] - bumped[1]) / 2e-8, rel=1e-4)


def test_an_open_cell_has_a_gradient_and_half_precision_a_result() -> None:
    g = torch.zeros(3, 3, requires_grad=True)
    solved(g, 1.0, 1.0, 1.0, 1.0).sum().backward()
    assert torch.equal(g.grad, torch.ones(3, 3))
    half = (cells(4, 4) * 1e3).half()
    assert solved(half, 1.0, 1.0, 1.0, 1.0).dtype == torch.float16


@pytest.mark.parametrize("rows", [64, 128])
def test_the_approximation_is_as_good_as_its_docstring_says(rows: int) -> None:
    g = cells(rows, rows, open_share=0.0)
    exact = solved(g, 1.0, 1.0, 0.0, 0.0)
    cheap = approximate_effective_conductance(g, r_word_ohm=1.0, r_bit_ohm=1.0)
    worst = ((cheap - exact).abs().max() / exact.max()).item()
    assert worst < {64: 0.001, 128: 0.01}[rows]


def test_gated_columns_are_the_network_of_the_rows_that_are_on() -> None:
    """With ideal word lines a row that is off is a row of open cells."""
    g = cells(9, 5)
    on = torch.from_numpy(np.random.default_rng(2).random((7, 9)) < 0.5)
    currents = gated_currents(on, g, r_bit_ohm=40.0, r_sink_ohm=100.0)
    for vector, rows in enumerate(on):
        switched = g * rows.double().unsqueeze(1)
        reference = nodal_conductance(switched.numpy(), 0.0, 40.0, 0.0, 100.0)
        assert np.allclose(currents[vector].numpy(), rows.double().numpy() @ reference, rtol=1e-12)


def test_gated_columns_without_resistance_add_up() -> None:
    g, on = cells(9, 5), torch.ones(1, 9)
    assert torch.allclose(gated_currents(on.double(), g, r_bit_ohm=0.0), g.sum(0, keepdim=True))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_senseless_numbers_are_refused(value: float) -> None:
    g = cells(3, 3)
    for name in NAMES:
        with pytest.raises(CimsimError, match=f"{name} must be a finite resistance of 0 or more"):
            effective_conductance(g, **({"r_word_ohm": 1.0, "r_bit_ohm": 1.0} | {name: value}))
    g[1, 1] = value
    with pytest.raises(CimsimError, match="conductances must be finite and 0 or more"):
        solved(g, 1.0, 1.0, 0.0, 0.0)
    with pytest.raises(CimsimError, match="floating-point tensor"):
        solved(torch.ones(3, 3, dtype=torch.int64), 1.0, 1.0, 0.0, 0.0)
