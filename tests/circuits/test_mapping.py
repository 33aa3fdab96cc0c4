"""Weights on conductances, and back."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cimsim.circuits.mapping import Mapping, weight_scale
from cimsim.profile import ArraySpec, override_profile
from tests.building import device

KINDS = list(get_args(ArraySpec.model_fields["mapping"].annotation))


def mapping(kind: str, slices: int = 1, levels: int | None = None, **cell: float) -> Mapping:
    keys: dict[str, object] = {"array.mapping": kind}
    if levels is not None:
        keys |= {"cell.levels": levels, "array.slices": slices}
    profile = override_profile(device(**{"g_min_uS": 2.0, "g_max_uS": 22.0} | cell), keys)  # type: ignore[arg-type]
    return Mapping(profile.cell, profile.array)


def held(m: Mapping, r: Tensor) -> Tensor:
    """The weights that the target conductances of ``r`` stand for, slices added up."""
    relative = m.weights(m.relative(m.conductances(r)))
    parts = m.significance()
    slices = relative.unflatten(1, (len(parts), -1))
    return (slices * torch.tensor(parts, dtype=r.dtype).view(-1, 1, 1)).sum(1)


def weights(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("g_min_uS", [0.0, 2.0])
def test_a_weight_comes_back(kind: str, g_min_uS: float) -> None:
    r = weights(2, 5, 7)
    m = mapping(kind, g_min_uS=g_min_uS)
    assert torch.allclose(held(m, r), r, atol=1e-12)
    g = m.conductances(r)
    assert g.min() >= g_min_uS
    assert g.max() <= 22.0
    assert g.shape == (2, 2, 5, 7) if kind == "differential-pair" else (1, 2, 5 + m.reference, 7)


def test_pair_by_hand() -> None:
    g = mapping("differential-pair").conductances(torch.tensor([[[1.0, -0.5, 0.0]]]))
    assert g.flatten().tolist() == [22.0, 2.0, 2.0, 2.0, 12.0, 2.0]


def test_offset_column_by_hand() -> None:
    g = mapping("offset-column").conductances(torch.tensor([[[1.0, -0.5, 0.0]]]))
    assert g[0, 0].tolist() == [[22.0, 7.0, 12.0], [12.0, 12.0, 12.0]]


@given(
    st.sampled_from(KINDS),
    st.integers(1, 4),
    st.integers(2, 5),
    st.floats(-1, 1),
)
def test_slices_hold_the_nearest_number_of_their_digits(
    kind: str, slices: int, levels: int, r: float
) -> None:
    m = mapping(kind, slices, levels)
    steps = levels**slices - 1  # of |r| in a pair, of (r + 1) / 2 without
    half_step = 0.5 / steps if kind == "differential-pair" else 1.0 / steps
    got = held(m, torch.tensor([[[r]]], dtype=torch.float64))
    assert got.shape == (1, 1, 1)
    assert abs(got.item() - r) <= half_step + 1e-9
    assert sum(m.significance()) == pytest.approx(1.0)


def test_binary_digits_by_hand() -> None:
    """5/7 is 101 in binary: the lowest digit comes first."""
    m = mapping("differential-pair", slices=3, levels=2, g_min_uS=0.0, g_max_uS=1.0)
    g = m.conductances(torch.tensor([[[5 / 7, -3 / 7]]], dtype=torch.float64))
    assert g[0, 0].tolist() == [[1, 0], [0, 0], [1, 0]]
    assert g[1, 0].tolist() == [[0, 1], [0, 1], [0, 0]]
    assert m.significance() == pytest.approx((1 / 7, 2 / 7, 4 / 7))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_takes_no_more_states_than_it_has(kind: str) -> None:
    m = mapping(kind, slices=1, levels=4)
    g = m.conductances(weights(1, 50, 50))[:, :, :50]
    assert len(g.unique()) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slices", [1, 3])
def test_the_gradient_passes_the_rounding_straight_through(kind: str, slices: int) -> None:
    r = weights(1, 3, 4).requires_grad_()
    held(mapping(kind, slices, levels=3), r).sum().backward()
    assert r.grad is not None
    assert torch.allclose(r.grad, torch.ones_like(r))


def test_both_cells_of_a_pair_share_the_slope_at_zero() -> None:
    r = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    m = mapping("differential-pair")
    (gradient,) = torch.autograd.grad(m.relative(m.conductances(r)).sum(), r)
    assert gradient.item() == 1.0


def test_weight_scale() -> None:
    w = torch.tensor([[[1.0, -4.0], [0.0, 0.0]], [[8.0, 2.0], [1.0, 3.0]]])

    def scales(per: str, columns: int = 2) -> list[float]:
        array = ArraySpec(rows=2, columns=columns, weight_scale=per, source="a test")
        found: list[float] = weight_scale(w, array).flatten().tolist()
        return found

    assert scales("column") == [4.0, pytest.approx(1e-30), 8.0, 3.0]
    assert scales("tile") == [4.0, 4.0, 8.0, 8.0]
    assert scales("tile", columns=1) == scales("column")
    assert scales("layer") == [8.0] * 4
