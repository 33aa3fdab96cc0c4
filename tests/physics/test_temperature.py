"""Conductances away from where they were measured, against the equations by hand."""

import math

import pytest
import torch

from cimsim.physics import at_temperature_uS
from tests.building import device
from tests.physics.kinds import ARRHENIUS, LINEAR_TEMPERATURE


def warmed(effect: dict[str, object], g_uS: float, celsius: float) -> float:
    g = torch.tensor(g_uS, dtype=torch.float64)
    return at_temperature_uS(g, g, device(temperature=[effect]).cell, celsius).item()


@pytest.mark.parametrize("celsius", [-40.0, 25.0, 85.0])
@pytest.mark.parametrize("g_uS", [0.0, 10.0, 25.0])
def test_linear(g_uS: float, celsius: float) -> None:
    alpha = 0.002 - 0.001 * g_uS / 25.0
    expected = g_uS * (1 + alpha * (celsius - 25.0))
    assert warmed(LINEAR_TEMPERATURE, g_uS, celsius) == pytest.approx(expected, rel=1e-12)


def test_no_conductance_is_negative_however_cold() -> None:
    steep = {**LINEAR_TEMPERATURE, "strength": 100.0}
    assert warmed(steep, 10.0, -40.0) == 0.0


def test_the_coefficient_is_that_of_the_present_state() -> None:
    g, target = torch.tensor(5.0, dtype=torch.float64), torch.tensor(20.0, dtype=torch.float64)
    cell = device(temperature=[LINEAR_TEMPERATURE]).cell
    expected = 5.0 * (1 + (0.002 - 0.001 * 0.2) * 60.0)
    assert at_temperature_uS(g, target, cell, 85.0).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("celsius", [-40.0, 25.0, 85.0])
def test_arrhenius(celsius: float, strength: float) -> None:
    difference = 1 / (celsius + 273.15) - 1 / 298.15
    expected = 10.0 * math.exp(-strength * 0.05 / 8.617333262e-5 * difference)
    found = warmed({**ARRHENIUS, "strength": strength}, 10.0, celsius)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("effect", [LINEAR_TEMPERATURE, ARRHENIUS], ids=lambda e: e["kind"])
def test_at_the_reference_temperature_nothing_changes(effect: dict[str, object]) -> None:
    g = torch.rand(100)
    assert torch.equal(at_temperature_uS(g, g, device(temperature=[effect]).cell, 25.0), g)


def test_effects_act_in_turn() -> None:
    g = torch.tensor(10.0, dtype=torch.float64)
    both = device(temperature=[ARRHENIUS, LINEAR_TEMPERATURE]).cell
    expected = warmed(LINEAR_TEMPERATURE, warmed(ARRHENIUS, 10.0, 85.0), 85.0)
    assert at_temperature_uS(g, g, both, 85.0).item() == pytest.approx(expected, rel=1e-12)
