"""Crossbars with resistive lines, solved by the kernel, against the same in plain torch."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

import cimsim
from cimsim import kernels
from cimsim.circuits import effective_conductance
from cimsim.kernels import wires
from cimsim.kernels.build import Build

pytestmark = pytest.mark.skipif(wires.build().library is None, reason=wires.build().note)

SHAPES = [(1, 1), (1, 40), (40, 1), (3, 5), (8, 8), (9, 17), (3, 16, 16), (64, 64), (100, 130)]
RESISTANCES = [(1.0, 2.0, 30.0, 40.0), (0.0, 0.0, 0.0, 5.0), (1e-6, 1e6, 0.0, 1e-6)]
DTYPES = [torch.float32, torch.float64]


def cells(*shape: int, dtype: torch.dtype) -> Tensor:
    """Cells of 1 to 100 uS, every fifth of them open."""
    draw = torch.Generator().manual_seed(0)
    g = 1e-6 + 99e-6 * torch.rand(shape, dtype=torch.float64, generator=draw)
    return (g * (torch.rand(shape, generator=draw) > 0.2)).to(dtype)


def solved(g: Tensor, resistances: tuple[float, ...]) -> Tensor:
    names = ("r_word_ohm", "r_bit_ohm", "r_source_ohm", "r_sink_ohm")
    return effective_conductance(g, **dict(zip(names, resistances, strict=True)))


def with_gradient(g: Tensor, resistances: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    leaf = g.clone().requires_grad_()
    effective = solved(leaf, resistances)
    draw = torch.Generator().manual_seed(1)
    factors = torch.randn(g.shape, dtype=torch.float64, generator=draw)
    (effective * factors.to(g.dtype)).sum().backward()
    assert leaf.grad is not None
    return effective.detach(), leaf.grad


def assert_near(got: Tensor, expected: Tensor, share: float) -> None:
    """Deviations are at most this share of the largest element."""
    assert (got - expected).abs().max() <= share * expected.abs().max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("resistances", RESISTANCES)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_plain_torch(
    shape: tuple[int, ...], resistances: tuple[float, ...], dtype: torch.dtype
) -> None:
    g = cells(*shape, dtype=dtype)
    got = with_gradient(g, resistances)
    with kernels.use("torch"):
        expected = with_gradient(g.double(), resistances)
    for ours, reference in zip(got, expected, strict=True):
        assert ours.dtype == dtype
        assert_near(ours.double(), reference, 1e-12 if dtype is torch.float64 else 6e-4)
    if dtype is torch.float64:
        torch.testing.assert_close(got[0], expected[0], rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(9, 17), (5, 33, 20), (3, 70, 40), (256, 256)])
def test_results_do_not_depend_on_the_number_of_threads(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    g, before = cells(*shape, dtype=dtype), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(with_gradient(g, RESISTANCES[0]))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


def test_gradients_may_be_batched() -> None:
    g = 1e-5 * torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def solved(g_S: Tensor) -> Tensor:
        return effective_conductance(g_S, r_word_ohm=10.0, r_bit_ohm=10.0)

    one_by_one, at_once = (jacobian(solved, g, vectorize=way) for way in (False, True))
    assert torch.allclose(one_by_one, at_once, rtol=1e-12)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_a_lack_of_memory_is_an_error() -> None:
    code = """if True:
        import resource, torch
        from cimsim.circuits import effective_conductance
        g = torch.rand(1, 2000, dtype=torch.float64)
        effective_conductance(g[:, :20], r_word_ohm=1.0, r_bit_ohm=1.0)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2)
        try:
            effective_conductance(g, r_word_ohm=1.0, r_bit_ohm=1.0)
        except MemoryError as error:
            print(error)
    """
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert child.stdout == "a crossbar of 1 x 2000 cells with wires needs more memory\n"
    assert child.returncode == 0


def test_without_its_library_plain_torch_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    g = cells(9, 17, dtype=torch.float64)
    expected = solved(g, RESISTANCES[0])
    absent = wires.build()._replace(library=None)
    monkeypatch.setattr(wires, "build", lambda: absent)
    assert_near(solved(g, RESISTANCES[0]), expected, 1e-9)


def test_a_profile_without_wires_does_not_compile_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Build:
        raise AssertionError("compiled")

    monkeypatch.setattr(wires, "build", fail)
    model = cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020")
    x = torch.rand(3, 8)
    cimsim.calibrate(model, [x])
    model(x).sum().backward()
    cimsim.program(model.eval(), 1)(x)


def test_a_batch_is_a_loop() -> None:
    g = cells(3, 20, 37, dtype=torch.float64)
    together = with_gradient(g, RESISTANCES[0])[0]
    alone = torch.stack([solved(one, RESISTANCES[0]) for one in g])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("shape", [(2, 3, 4), (9, 5), (1, 18), (17, 2)])
def test_gradient(shape: tuple[int, ...]) -> None:
    leaf = (0.1 + 1e4 * cells(*shape, dtype=torch.float64)).requires_grad_()  # in siemens
    assert torch.autograd.gradcheck(lambda g: solved(g, (0.02, 0.03, 0.4, 0.5)), (leaf,))


def test_open_cells_have_a_gradient() -> None:
    g = torch.zeros(20, 3, dtype=torch.float64)
    effective, grad = with_gradient(g, RESISTANCES[0])
    assert not effective.any()
    with kernels.use("torch"):
        expected = with_gradient(g, RESISTANCES[0])[1]
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=0.0)


def test_no_pivot_of_an_interface_is_less_than_one() -> None:
    """The pivots of 1 + RR LL in the order of the ports, of two random networks over 12 decades."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(30):
        decades = torch.randint(-6, 7, (2, 5, 5), generator=draw)
        a, b = (_grounded([[10.0 ** int(d) for d in row] for row in one]) for one in decades)
        resistances = _inverse(a)
        loaded = [
            [int(i == j) + sum(resistances[i][k] * b[k][j] for k in range(4)) for j in range(4)]
            for i in range(4)
        ]
        assert min(_pivots(loaded)) >= 1


Rational = list[list[Fraction]]


def _grounded(siemens: list[list[float]]) -> Rational:
    """The admittances of nodes that conductances join to each other and, the last, to ground."""
    n = len(siemens) - 1
    matrix = [[Fraction(0)] * n for _ in range(n)]
    for i, j in itertools.combinations(range(n + 1), 2):
        g = Fraction(siemens[i][j])
        matrix[i][i] += g
        if j < n:
            matrix[j][j] += g
            matrix[i][j] -= g
            matrix[j][i] -= g
    return matrix


def _inverse(matrix: Rational) -> Rational:
    n = len(matrix)
    both = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for p in range(n):
        both[p] = [x / both[p][p] for x in both[p]]
        for i in range(n):
            if i != p:
                factor = both[i][p]
                both[i] = [x - factor * y for x, y in zip(both[i], both[p], strict=True)]
    return [row[n:] for row in both]


def _pivots(matrix: Rational) -> list[Fraction]:
    rows, found = [list(row) for row in matrix], []
    for p in range(len(rows)):
        found.append(rows[p][p])
        for i in range(p + 1, len(rows)):
            factor = rows[i][p] / rows[p][p]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[p], strict=True)]
    return found
