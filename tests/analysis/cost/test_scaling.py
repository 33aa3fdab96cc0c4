"""Nodes and supplies against the published polynomials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.cost.scaling import area_factor, energy_factor

NODES = [7.0, 10.0, 14.0, 16.0, 20.0, 32.0, 45.0, 65.0, 90.0, 130.0]
nodes, supplies = st.sampled_from(NODES), st.floats(0.6, 1.2)


def test_from_45_to_7_nm_by_hand() -> None:
    # Stillmaker and Baas 2017: S = a V^2 + b V + c at 0.9 V, then the square of the supply.
    at_7 = 0.1776 * 0.81 - 0.09097 * 0.9 + 0.02447
    at_45 = 1.103 * 0.81 - 0.362 * 0.9 + 0.2767
    factor, warnings = energy_factor(45, 0.9, 7, 0.7)
    assert factor == pytest.approx(at_7 / at_45 * (0.7 / 0.9) ** 2)
    assert warnings == ()


@given(nodes, supplies, nodes, supplies)
def test_there_and_back_is_no_change(a: float, v: float, b: float, w: float) -> None:
    there = energy_factor(a, v, b, v)[0]
    assert there * energy_factor(b, v, a, v)[0] == pytest.approx(1)
    assert energy_factor(a, v, b, w)[0] == pytest.approx(there * (w / v) ** 2)
    assert area_factor(a, b)[0] * area_factor(b, a)[0] == pytest.approx(1)


def test_between_two_nodes_it_lies_between_them() -> None:
    of_22 = energy_factor(45, 0.9, 22, 0.9)[0]
    assert energy_factor(45, 0.9, 20, 0.9)[0] < of_22 < energy_factor(45, 0.9, 32, 0.9)[0]
    assert 0.46 < area_factor(32, 22)[0] < 1


def test_what_the_fit_does_not_cover_is_said() -> None:
    assert "7 to 130 nm and was extrapolated to 5 nm" in energy_factor(45, 0.9, 5, 0.7)[1][0]
    assert "350 nm" in area_factor(32, 350)[1][0]
    # The polynomial of 65 nm falls towards 0.586 V and rises below.
    assert "is valid for 0.59 V or more" in energy_factor(65, 0.5, 45, 0.5)[1][0]
    assert energy_factor(5, 0.9, 5, 0.7)[1] == ()  # no fit is used within one node
