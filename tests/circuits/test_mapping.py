import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.circuits.mapping import DifferentialPair, column_scale

weights = st.lists(st.floats(-1, 1), min_size=1, max_size=30)


@given(weights, st.floats(0, 10), st.floats(11, 100))
def test_round_trip(values: list[float], g_min_uS: float, g_max_uS: float) -> None:
    r = torch.tensor(values, dtype=torch.float64)
    pair = DifferentialPair(g_min_uS, g_max_uS)
    g_uS = pair.conductances(r)
    assert g_uS.shape == (2, len(values))
    assert (g_uS >= g_min_uS).all()
    assert (g_uS <= g_max_uS + 1e-9).all()
    assert (g_uS.min(dim=0).values == g_min_uS).all()  # one cell of every pair is off
    assert torch.allclose(pair.weights(g_uS), r, atol=1e-12)


def test_variances_add() -> None:
    pair = DifferentialPair(5.0, 25.0)
    variance = pair.variances(torch.tensor([[4.0], [12.0]], dtype=torch.float64))
    assert variance.item() == pytest.approx(16.0 / 20.0**2)


def test_column_scale() -> None:
    w = torch.tensor([[[1.0, -4.0], [0.0, 0.0]]])
    assert column_scale(w).flatten().tolist() == [4.0, pytest.approx(1e-30)]
