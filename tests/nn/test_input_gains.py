"""Gains of inputs: they cancel where arithmetic is exact, and are saved with the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import cimsim
from cimsim import kernels
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.nn.input_gains import InputGains, balancing_gains
from tests.building import device
from tests.nn.layer_kinds import LAYERS, assert_same_function

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def scale(model: nn.Module) -> None:
    draws = torch.Generator().manual_seed(0)
    for layer in analog_layers(model).values():
        layer.scale_inputs(InputGains(torch.rand(layer.inputs, generator=draws) + 0.1))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("back_end", ["fused", "torch"])
def test_ideal_layers_compute_the_same(
    case: tuple[Callable[[], nn.Module], tuple[int, ...]], training: bool, back_end: str
) -> None:
    make, shape = case
    torch.manual_seed(0)
    plain = make().train(training)
    analog = cimsim.convert(plain, device(rows=15))
    scale(analog)
    with kernels.use(back_end):
        assert_same_function(analog, plain, torch.randn(shape), **CLOSE)
    for layer in analog_layers(analog).values():
        held = layer.eval().programmed_weight()
        torch.testing.assert_close(held, layer.weight.detach(), **CLOSE)


def test_they_are_saved_with_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(16, 6)
    model = cimsim.convert(nn.Sequential(nn.Linear(6, 4)), "pcm-ibm-2020")
    scale(model)
    cimsim.calibrate(model, [x]).eval()
    cimsim.save(model, tmp_path)
    again = cimsim.load(tmp_path, nn.Sequential(nn.Linear(6, 4))).eval()
    assert torch.equal(again(x), model(x))
    assert torch.equal(again[0].input_gains.gains, model[0].input_gains.gains)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_gains_are_positive_and_finite(bad: float) -> None:
    with pytest.raises(CimsimError, match="not positive and finite"):
        InputGains(torch.tensor([1.0, bad]))
    with pytest.raises(CimsimError, match="'gains' has numbers that are not"):
        InputGains(torch.ones(2)).load_state_dict({"gains": torch.tensor([1.0, bad])})


SIZES = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=8)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.data())
def test_what_is_balanced(x: list[float], data: st.DataObject) -> None:
    w = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=len(x), max_size=len(x)))
    largest_x, largest_w = (torch.tensor(t, dtype=torch.float64) for t in (x, w))
    for strength in (0.0, 0.3, 1.0):
        gains = balancing_gains(largest_x, largest_w, strength)
        assert gains.log().mean().item() == pytest.approx(0.0, abs=1e-9)
    equal_x = largest_x / balancing_gains(largest_x, largest_w, 1.0)
    equal_w = largest_w * balancing_gains(largest_x, largest_w, 0.0)
    for equal in (equal_x, equal_w):
        torch.testing.assert_close(equal, equal[:1].expand_as(equal))


def test_silent_inputs_stay() -> None:
    gains = balancing_gains(torch.tensor([0.0, 4.0, 1.0]), torch.tensor([1.0, 1.0, 0.0]), 0.5)
    assert gains.tolist() == [1.0, 1.0, 1.0]
    assert balancing_gains(torch.zeros(2), torch.ones(2), 0.5).tolist() == [1.0, 1.0]
