"""Wires, against Kirchhoff's laws written down one wire at a time and solved by others."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cimsim import kernels
from cimsim.circuits import (
    approximate_effective_conductance,
    effective_conductance,
    gated_currents,
    wires,
)
from cimsim.errors import CimsimError

Number = TypeVar("Number", float, Fraction)
Array = np.ndarray[Any, np.dtype[np.float64]]
Resistances = tuple[float, float, float, float]
"""Word, bit, source, sink, in ohm."""


class Network:
    """Resistors between named nodes; what has no resistance makes one node of two."""

    def __init__(self) -> None:
        self.wires: list[tuple[Hashable, Hashable, float]] = []
        self.same: dict[Hashable, Hashable] = {}

    def wire(self, a: Hashable, b: Hashable, ohm: float) -> None:
        if ohm > 0:
            self.wires.append((a, b, ohm))
        elif self.node(a) != self.node(b):
            # A terminal, ("drive", i) or ("out", j), is never absorbed into an inner node.
            if self.node(a)[0] in ("drive", "out"):  # type: ignore[index]
                a, b = b, a
            self.same[self.node(a)] = self.node(b)

    def cell(self, a: Hashable, b: Hashable, siemens: float) -> None:
        if siemens > 0:
            self.wires.append((a, b, -siemens))  # exact, where 1 / siemens is not

    def node(self, name: Hashable) -> Hashable:
        while name in self.same:
            name = self.same[name]
        return name

    def conductances(self, number: type[Number]) -> list[tuple[Hashable, Hashable, Number]]:
        return [
            (self.node(a), self.node(b), 1 / number(ohm) if ohm > 0 else -number(ohm))
            for a, b, ohm in self.wires
        ]


def crossbar(g: Array, resistances: Resistances) -> Network:
    word, bit, source, sink = resistances
    rows, columns = g.shape
    network = Network()
    for i, j in itertools.product(range(rows), range(columns)):
        before = ("word", i, j - 1) if j else ("drive", i)
        network.wire(("word", i, j), before, word if j else word + source)
        below = ("bit", i + 1, j) if i < rows - 1 else ("out", j)
        network.wire(("bit", i, j), below, bit if i < rows - 1 else bit + sink)
        network.cell(("word", i, j), ("bit", i, j), g[i, j])
    return network


def column(g: Array, on: Array, bit: float, sink: float, supply: float) -> Network:
    """A gated column: the supply line is fed at the top."""
    network = Network()
    for i in range(len(g)):
        network.wire(("rail", i), ("rail", i - 1) if i else ("drive", 0), supply)
        below = ("bit", i + 1) if i < len(g) - 1 else ("out", 0)
        network.wire(("bit", i), below, bit if i < len(g) - 1 else bit + sink)
        network.cell(("rail", i), ("bit", i), g[i] * on[i])
    return network


def nodal(network: Network, drives: Array, outputs: int) -> Array:
    """Currents out of the grounded outputs, ``[vectors, outputs]``, by sparse LU."""
    wires = network.conductances(float)
    fixed: list[Hashable] = [("drive", i) for i in range(drives.shape[1])]
    fixed += [("out", j) for j in range(outputs)]
    ends = set(fixed)
    inner = dict.fromkeys(node for wire in wires for node in wire[:2] if node not in ends)
    index = {node: k for k, node in enumerate([*inner, *fixed])}
    a = np.array([index[wire[0]] for wire in wires], dtype=int)
    b = np.array([index[wire[1]] for wire in wires], dtype=int)
    c = np.array([wire[2] for wire in wires])
    n = len(inner)
    entries = (np.r_[c, c, -c, -c], (np.r_[a, b, a, b], np.r_[a, b, b, a]))
    laplacian = scipy.sparse.coo_matrix(entries, shape=(len(index),) * 2).tocsc()
    voltages = np.r_[np.zeros((n, len(drives))), drives.T, np.zeros((outputs, len(drives)))]
    if n:
        lu = scipy.sparse.linalg.splu(laplacian[:n, :n], permc_spec="MMD_AT_PLUS_A")
        voltages[:n] = lu.solve(-(laplacian[:n, n:] @ voltages[n:]))
    return np.asarray(-(laplacian[n + drives.shape[1] :] @ voltages).T)


def rational(network: Network, drives: int, outputs: int) -> Array:
    """The same for a drive at each row, in fractions: exact, for few nodes."""
    rows: dict[Hashable, dict[Hashable, Fraction]] = {}
    for a, b, c in network.conductances(Fraction):
        for x, y in ((a, b), (b, a)):
            row = rows.setdefault(x, {})
            row[x] = row.get(x, Fraction(0)) + c
            row[y] = row.get(y, Fraction(0)) - c
    for node in [name for name in rows if name[0] not in ("drive", "out")]:  # type: ignore[index]
        pivot = rows.pop(node)
        for other in [name for name in pivot if name != node]:
            row = rows[other]
            factor = row.pop(node) / pivot[node]
            for name, value in pivot.items():
                if name != node:
                    row[name] = row.get(name, Fraction(0)) - factor * value
    g = [
        [-rows.get(("out", j), {}).get(("drive", i), Fraction(0)) for j in range(outputs)]
        for i in range(drives)
    ]
    return np.array(g, dtype=float)


def solved(g: Array | Tensor, resistances: Resistances) -> Tensor:
    word, bit, source, sink = resistances
    return effective_conductance(
        torch.as_tensor(g),
        r_word_ohm=word,
        r_bit_ohm=bit,
        r_source_ohm=source,
        r_sink_ohm=sink,
    )


def cells(seed: int, *shape: int, open_share: float = 0.0, top_S: float = 25e-6) -> Array:
    rng = np.random.default_rng(seed)
    g: Array = rng.uniform(0.04 * top_S, top_S, shape)
    g[rng.random(shape) < open_share] = 0.0
    return g


def off(got: Array | Tensor, want: Array) -> float:
    """Largest deviation, relative to the largest element."""
    scale = float(np.abs(want).max())
    return float(np.abs(np.asarray(got, dtype=float) - want).max()) / (scale or 1.0)


# Against independent solutions.


@pytest.mark.parametrize("resistances", list(itertools.product([0.0, 7.0], repeat=4)))
@pytest.mark.parametrize("shape", [(9, 6), (5, 11)])
def test_any_resistance_may_be_zero(shape: tuple[int, int], resistances: Resistances) -> None:
    g = cells(1, *shape, open_share=0.2, top_S=1e-3)
    g[2], g[:, 3] = 0.0, 0.0
    want = nodal(crossbar(g, resistances), np.eye(len(g)), g.shape[1])
    assert off(solved(g, resistances), want) < 1e-13
    if not any(resistances):
        assert torch.equal(solved(g, resistances), torch.as_tensor(g))


SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (7, 7), (8, 17), (33, 5), (24, 40), (40, 24), (31, 31)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_a_sparse_solution(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    word, bit, source, sink = 10.0 ** rng.uniform(-1, 2, 4)
    g = cells(seed, *shape, open_share=0.3 * seed, top_S=1e-4)
    resistances = (word, bit, source, sink)
    want = nodal(crossbar(g, resistances), np.eye(shape[0]), shape[1])
    got = solved(g, resistances)
    assert off(got, want) < 1e-12
    assert np.allclose(got, want, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("shape", [(256, 256), (200, 90), (60, 256)])
def test_agrees_at_the_sizes_of_chips(shape: tuple[int, int]) -> None:
    g = cells(0, *shape)
    drives = np.random.default_rng(0).uniform(-1, 1, (2, shape[0]))
    want = nodal(crossbar(g, (1.0, 1.0, 20.0, 10.0)), drives, shape[1])
    assert off(drives @ solved(g, (1.0, 1.0, 20.0, 10.0)).numpy(), want) < 1e-10


@pytest.mark.parametrize("seed", range(30))
def test_every_element_is_right_however_extreme_the_values(seed: int) -> None:
    """To nine digits of each element, against fractions: nodal analysis in floats loses most of its
    digits among 12 decades of resistance and 8 of conductance."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 5, 2)
    r: list[float] = rng.choice([0.0, 1e-6, 1e-3, 1.0, 1e3, 1e6], 4).tolist()
    resistances = (r[0], r[1], r[2], r[3])
    g = 10.0 ** rng.uniform(-9, -1, (rows, columns)) * (rng.random((rows, columns)) > 0.2)
    want = rational(crossbar(g, resistances), rows, columns)
    got = solved(g, resistances)
    assert off(got, want) < 1e-11
    assert np.allclose(got, want, rtol=1e-9, atol=0.0)


def test_one_cell_by_hand() -> None:
    g = torch.tensor([[2e-3]], dtype=torch.float64)
    path = 500.0 + 10.0 + 50.0 + 3.0 + 20.0
    assert solved(g, (10.0, 3.0, 50.0, 20.0)).item() == pytest.approx(1 / path, rel=1e-14)


def test_terminals_belong_to_every_line() -> None:
    """The source is in the first segment of *each* word line, the sink in the last of each bit
    line. With one cell on each line there is nothing but series paths."""
    word, bit, source, sink = 5.0, 3.0, 50.0, 20.0
    g = np.diag([1e-3, 2e-3, 4e-3])
    got = solved(g, (word, bit, source, sink))
    for k, siemens in enumerate(np.diag(g)):
        path = 1 / siemens + source + (k + 1) * word + (3 - k) * bit + sink
        assert got[k, k].item() == pytest.approx(1 / path, rel=1e-13)
    assert off(got, np.diag(np.diag(got))) < 1e-15
    only_source = solved(np.full((3, 1), 1e-3), (0.0, 0.0, 250.0, 0.0))
    assert only_source.flatten().tolist() == pytest.approx([0.8e-3] * 3, rel=1e-14)


@pytest.mark.parametrize("resistances", [(0, 0, 0, 9.0), (4.0, 0, 0, 0), (2.0, 3.0, 40.0, 50.0)])
def test_open_cells_carry_nothing(resistances: Resistances) -> None:
    assert torch.equal(solved(np.zeros((5, 3)), resistances), torch.zeros(5, 3).double())
    g = cells(3, 6, 4)
    g[1], g[:, 2] = 0.0, 0.0
    got = solved(g, resistances)
    assert not got[1].any()
    assert not got[:, 2].any()


# What must hold for every crossbar.

ohms = st.one_of(st.just(0.0), st.floats(-3, 4).map(lambda exponent: 10.0**exponent))
four_ohms = st.tuples(ohms, ohms, ohms, ohms)
sizes = st.integers(1, 9)


@settings(max_examples=60)
@given(st.integers(0, 999), sizes, sizes, four_ohms)
def test_rows_and_columns_may_change_places(
    seed: int, rows: int, columns: int, resistances: Resistances
) -> None:
    """Reciprocity: drive the columns and listen at the rows. Lines are told from their driven end,
    so both also change their order."""
    g = torch.as_tensor(cells(seed, rows, columns, open_share=0.2, top_S=1e-3))
    word, bit, source, sink = resistances
    turned = solved(g.flip(0, 1).T, (bit, word, sink, source)).T.flip(0, 1)
    torch.testing.assert_close(solved(g, resistances), turned, rtol=1e-11, atol=1e-18)


@settings(max_examples=60)
@given(st.integers(0, 999), sizes, sizes, four_ohms, st.integers(0, 3), st.floats(1e-2, 1e4))
def test_more_resistance_is_less_current(
    seed: int, rows: int, columns: int, resistances: Resistances, which: int, more: float
) -> None:
    g = cells(seed, rows, columns, open_share=0.2, top_S=1e-3)
    raised = list(resistances)
    raised[which] += more
    before, after = solved(g, resistances), solved(g, (raised[0], raised[1], raised[2], raised[3]))
    assert (before >= 0).all()
    assert before.sum() <= g.sum() * (1 + 1e-12)
    assert after.sum() <= before.sum() * (1 + 1e-12)


@settings(max_examples=40)
@given(st.integers(0, 999), sizes, sizes, four_ohms)
def test_random_crossbars_agree_with_a_sparse_solution(
    seed: int, rows: int, columns: int, resistances: Resistances
) -> None:
    g = cells(seed, rows, columns, open_share=0.3, top_S=1e-3)
    want = nodal(crossbar(g, resistances), np.eye(rows), columns)
    assert off(solved(g, resistances), want) < 1e-9


# Batches, types, errors.


@pytest.mark.parametrize("which", ["fused", "torch"])
def test_a_batch_is_a_loop(which: kernels.Use, monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.as_tensor(cells(5, 2, 3, 6, 10))
    resistances = (2.0, 3.0, 40.0, 50.0)
    with kernels.use(which):
        together = solved(g, resistances)
        monkeypatch.setattr(wires, "_MOST_CELLS", 130)  # two arrays at a time in plain torch
        in_parts = solved(g, resistances)
        for i, j in itertools.product(range(2), range(3)):
            alone = solved(g[i, j], resistances)
            torch.testing.assert_close(together[i, j], alone, rtol=1e-13, atol=0.0)
            torch.testing.assert_close(in_parts[i, j], alone, rtol=1e-13, atol=0.0)
        assert solved(g[:0], resistances).shape == (0, 3, 6, 10)


def test_layout_in_memory_does_not_matter() -> None:
    g = torch.as_tensor(cells(6, 2, 7, 5))
    want = solved(g, (2.0, 3.0, 40.0, 50.0))
    strided = torch.empty(2, 5, 7).double().mT.copy_(g)
    assert torch.equal(solved(strided, (2.0, 3.0, 40.0, 50.0)), want)


@pytest.mark.parametrize(
    ("size", "resistances"),
    [
        (128, (1.0, 1.0, 0.0, 0.0)),
        (64, (10.0, 10.0, 0.0, 0.0)),
        (64, (1.0, 1.0, 1e3, 1e3)),
        (64, (0.0, 1.0, 1e3, 0.0)),
    ],
)
def test_float32_is_good_to_five_digits(size: int, resistances: Resistances) -> None:
    g = torch.as_tensor(cells(0, size, size, top_S=1e-4)).float()
    got = solved(g, resistances)
    assert got.dtype == torch.float32
    assert off(got, solved(g.double(), resistances).numpy()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    g = torch.as_tensor(cells(0, 6, 5, top_S=1e-2)).to(dtype)
    got = solved(g, (3.0, 2.0, 10.0, 10.0))
    assert torch.equal(got, solved(g.float(), (3.0, 2.0, 10.0, 10.0)).to(dtype))
    assert approximate_effective_conductance(g, r_word_ohm=1.0, r_bit_ohm=1.0).dtype == dtype
    assert gated_currents(torch.ones(1, 6), g, r_bit_ohm=1.0).dtype == dtype


def test_autocast_stays_out() -> None:
    g, named = torch.as_tensor(cells(0, 12, 9)).float(), {"r_word_ohm": 3.0, "r_bit_ohm": 5.0}
    for solve in (effective_conductance, approximate_effective_conductance):
        plain, cast = g.clone().requires_grad_(), g.clone().requires_grad_()
        want = solve(plain, **named)
        want.sum().backward()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = solve(cast, **named)
        got.sum().backward()
        assert torch.equal(got, want)
        assert plain.grad is not None
        assert cast.grad is not None
        torch.testing.assert_close(cast.grad, plain.grad)


@pytest.mark.gpu
def test_on_the_gpu() -> None:
    g = torch.as_tensor(cells(0, 3, 40, 24))
    here, there = (x.requires_grad_() for x in (g.clone(), g.cuda()))
    for x in (here, there):
        solved(x, (1.0, 2.0, 30.0, 40.0)).square().sum().backward()
    got, want = solved(there, (1.0, 2.0, 30.0, 40.0)), solved(here, (1.0, 2.0, 30.0, 40.0))
    torch.testing.assert_close(got.cpu(), want, rtol=1e-11, atol=0.0)
    assert here.grad is not None
    assert there.grad is not None
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize("bad", [-1e-6, float("nan"), float("inf")])
def test_impossible_conductances_are_refused(bad: float) -> None:
    g = torch.tensor([[1e-6, bad]])
    for solve in (effective_conductance, approximate_effective_conductance):
        with pytest.raises(CimsimError, match="conductances must be finite and 0 or more"):
            solve(g, r_word_ohm=0.0, r_bit_ohm=0.0)
    with pytest.raises(CimsimError, match="conductances must be finite and 0 or more"):
        gated_currents(torch.ones(1, 1), g, r_bit_ohm=0.0)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["r_word_ohm", "r_bit_ohm", "r_source_ohm", "r_sink_ohm"])
def test_impossible_resistances_are_refused(name: str, bad: float) -> None:
    named = {"r_word_ohm": 1.0, "r_bit_ohm": 1.0, name: bad}
    for solve in (effective_conductance, approximate_effective_conductance):
        with pytest.raises(CimsimError, match=f"{name} must be a finite resistance"):
            solve(torch.ones(2, 2), **named)


@pytest.mark.parametrize("bad", [torch.ones(2, 2, dtype=torch.int64), torch.ones(3)])
def test_what_is_no_matrix_of_numbers_is_refused(bad: Tensor) -> None:
    with pytest.raises(CimsimError, match=r"floating-point tensor \[..., rows, columns\]"):
        solved(bad, (1.0, 1.0, 0.0, 0.0))


# Gradients.


@pytest.mark.parametrize(
    "resistances", [(7.0, 0, 0, 0), (0, 7.0, 0, 0), (0, 0, 7.0, 0), (2.0, 3.0, 40.0, 50.0)]
)
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 3), (1, 4), (4, 1)])
def test_gradient(shape: tuple[int, ...], resistances: Resistances) -> None:
    g = torch.as_tensor(cells(7, *shape, top_S=1.0)).requires_grad_()
    scaled = [1e-2 * ohm for ohm in resistances]
    four = (scaled[0], scaled[1], scaled[2], scaled[3])
    assert torch.autograd.gradcheck(lambda g: solved(g, four), (g,))


def test_gradient_against_a_sparse_solution_and_at_open_cells() -> None:
    """One-sided of second order, because no conductance is negative."""
    resistances = (2.0, 3.0, 40.0, 50.0)
    g = cells(8, 7, 9, open_share=0.3, top_S=1e-3)
    weights = np.random.default_rng(8).normal(size=g.shape)

    def loss(g: Array) -> float:
        return float((weights * nodal(crossbar(g, resistances), np.eye(7), 9)).sum())

    leaf = torch.as_tensor(g).requires_grad_()
    (solved(leaf, resistances) * torch.as_tensor(weights)).sum().backward()
    assert leaf.grad is not None
    for i, j in [(0, 0), (6, 8), (3, 4), *np.argwhere(g == 0)[:4].tolist()]:
        step = np.zeros_like(g)
        step[i, j] = 2e-7
        slope = (-3 * loss(g) + 4 * loss(g + step) - loss(g + 2 * step)) / 4e-7
        assert leaf.grad[i, j].item() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_gradient_is_of_first_order_only() -> None:
    g = torch.as_tensor(cells(9, 3, 3)).requires_grad_()
    total = solved(g, (1.0, 1.0, 0.0, 0.0)).square().sum()
    (slope,) = torch.autograd.grad(total, g, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


# The approximation.


def test_approximation_is_right_to_first_order() -> None:
    g = torch.as_tensor(cells(10, 12, 17))
    errors = []
    for ohm in (1.0, 10.0):
        named = {"r_word_ohm": ohm, "r_bit_ohm": 2 * ohm, "r_source_ohm": ohm, "r_sink_ohm": ohm}
        exact = effective_conductance(g, **named)
        errors.append(off(approximate_effective_conductance(g, **named), exact.numpy()))
    assert errors[0] < 1e-4
    assert errors[1] == pytest.approx(100 * errors[0], rel=0.5)


def test_approximation_of_one_cell_is_exact() -> None:
    g = torch.tensor([[2e-3]], dtype=torch.float64)
    named = {"r_word_ohm": 10.0, "r_bit_ohm": 3.0, "r_source_ohm": 50.0, "r_sink_ohm": 20.0}
    got = approximate_effective_conductance(g, **named)
    torch.testing.assert_close(got, effective_conductance(g, **named))


# Gated cells.


@pytest.mark.parametrize(
    ("bit", "sink", "supply"),
    [*itertools.product([0.0, 20.0], [0.0, 300.0], [0.0, 50.0]), (1e-6, 1e6, 1e6)],
)
@pytest.mark.parametrize("rows", [1, 2, 13])
def test_gated_columns_agree_with_exact_ladders(
    rows: int, bit: float, sink: float, supply: float
) -> None:
    g = cells(11, rows, 3, open_share=0.1, top_S=1e-3)
    on = np.random.default_rng(11).random((4, rows)) < 0.6
    on[0] = False
    got = gated_currents(
        torch.as_tensor(on),
        torch.as_tensor(g),
        r_bit_ohm=bit,
        r_sink_ohm=sink,
        r_supply_ohm=supply,
    )
    assert got.shape == (4, 3)
    assert not got[0].any()
    for vector, j in itertools.product(range(4), range(3)):
        ladder = column(g[:, j], on[vector], bit, sink, supply)
        want = rational(ladder, 1, 1).item()
        assert got[vector, j].item() == pytest.approx(want, rel=1e-12, abs=0.0)


def test_gated_columns_without_wires_are_plain_sums() -> None:
    g = torch.as_tensor(cells(12, 2, 8, 5))
    on = torch.randint(0, 2, (2, 6, 8), generator=torch.Generator().manual_seed(0))
    got = gated_currents(on, g, r_bit_ohm=0.0)
    torch.testing.assert_close(got, on.double() @ g)
    shared = gated_currents(on[0], g, r_bit_ohm=3.0)
    alone = gated_currents(on[0], g[1], r_bit_ohm=3.0)
    torch.testing.assert_close(shared[1], alone)


def test_all_rows_on_is_a_passive_column_behind_ideal_word_lines() -> None:
    g = torch.as_tensor(cells(13, 9, 4, top_S=1e-3))
    got = gated_currents(torch.ones(1, 9), g, r_bit_ohm=30.0, r_sink_ohm=200.0)
    passive = solved(g, (0.0, 30.0, 0.0, 200.0)).sum(0, keepdim=True)
    torch.testing.assert_close(got, passive, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("supply", [0.0, 5.0])
def test_gradient_of_gated_columns(supply: float) -> None:
    g = torch.as_tensor(cells(14, 5, 2, top_S=1.0)).requires_grad_()
    on = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])

    def currents(g: Tensor) -> Tensor:
        return gated_currents(on, g, r_bit_ohm=0.1, r_sink_ohm=0.2, r_supply_ohm=supply)

    assert torch.autograd.gradcheck(currents, (g,))


def test_switches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CimsimError, match="the last dimension of 'on' must be 5 rows"):
        gated_currents(torch.ones(2, 4), torch.ones(5, 3), r_bit_ohm=1.0)
    with pytest.raises(CimsimError, match="r_supply_ohm must be a finite resistance"):
        gated_currents(torch.ones(2, 5), torch.ones(5, 3), r_bit_ohm=1.0, r_supply_ohm=-1.0)
