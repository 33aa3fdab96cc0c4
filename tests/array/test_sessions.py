"""Slow read noise through the public functions: in a session, between sessions, in training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.nn.layer import AnalogLayer
from tests.building import ONE_OVER_F, device

COLUMNS, VECTORS, DAY_S = 20_000, 8, 86400.0
A = 0.0088  # amplitude over conductance at 25 uS
SLOW = A * math.sqrt(math.log((DAY_S + 20) / 1e-4))
FAST = A * math.sqrt(math.log((1e-4 + 250e-9) / (2 * 250e-9)))


@pytest.fixture(params=["fused", "numbers", "torch"], autouse=True)
def back_end(request: pytest.FixtureRequest) -> object:
    with kernels.use(request.param):
        yield


def layer() -> AnalogLayer:
    """Every output is one cell at 25 uS beside one at rest, which has no noise."""
    digital = nn.Linear(1, COLUMNS, bias=False)
    nn.init.ones_(digital.weight)
    made = cimsim.convert(digital, device(read=[ONE_OVER_F]))
    assert isinstance(made, AnalogLayer)
    return made


@torch.no_grad()
def noise(made: AnalogLayer) -> Tensor:
    """Of each vector and cell, over the conductance."""
    read: Tensor = made(torch.ones(VECTORS, 1)) - 1
    return read.double()


def correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one, other]))[0, 1].item()


def test_within_a_session_vectors_share_the_slow_part() -> None:
    made = cimsim.age(cimsim.program(layer().eval(), 3), DAY_S)
    read = noise(made)
    assert read.std().item() == pytest.approx(math.hypot(SLOW, FAST), rel=0.02)
    assert (read[1:] - read[:-1]).std().item() == pytest.approx(math.sqrt(2) * FAST, rel=0.02)
    share = SLOW**2 / (SLOW**2 + FAST**2)
    assert correlation(read[0], read[1]) == pytest.approx(share, abs=4 / math.sqrt(COLUMNS))
    # Another call is another read in the same session.
    assert correlation(read[0], noise(made)[0]) == pytest.approx(share, abs=4 / math.sqrt(COLUMNS))


def test_another_age_is_another_session_of_the_same_chip() -> None:
    made = cimsim.program(layer().eval(), 3)
    held = {}
    for age_s in (DAY_S, DAY_S + 1e-5, DAY_S + 3600.0, 100 * DAY_S, DAY_S):
        held[age_s] = noise(cimsim.age(made, age_s)).mean(0)
    assert correlation(held[DAY_S], held[DAY_S + 1e-5]) > 0.95
    assert 0.02 < correlation(held[DAY_S], held[DAY_S + 3600.0]) < 0.4
    assert abs(correlation(held[DAY_S], held[100 * DAY_S])) < 0.1
    again = noise(cimsim.age(made, DAY_S)).mean(0)
    assert correlation(held[DAY_S], again) > 0.95
    other = noise(cimsim.age(cimsim.program(made, 4), DAY_S)).mean(0)
    assert abs(correlation(held[DAY_S], other)) < 4 / math.sqrt(COLUMNS)


def test_a_training_step_meets_one_draw_of_it() -> None:
    made = cimsim.age(layer().train(), DAY_S)
    one, other = noise(made), noise(made)
    share = SLOW**2 / (SLOW**2 + FAST**2)
    assert one.std().item() == pytest.approx(math.hypot(SLOW, FAST), rel=0.02)
    assert correlation(one[0], one[1]) == pytest.approx(share, abs=4 / math.sqrt(COLUMNS))
    assert abs(correlation(one[0], other[0])) < 4 / math.sqrt(COLUMNS)


@pytest.mark.parametrize("training", [True, False])
def test_it_is_no_part_of_the_mean_response(training: bool) -> None:
    """Backward multiplies by what is programmed: read noise, slow or not, has the mean 0."""
    made = cimsim.age(layer().train(training), DAY_S)
    x = torch.ones(VECTORS, 1, requires_grad=True)
    y = made(x)
    assert (y.detach() - 1).std() > SLOW / 2
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(dx, torch.full_like(dx, COLUMNS), rtol=1e-4)
