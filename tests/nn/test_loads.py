"""One line in the log for each load that leaves ranges of other converters out."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import cimsim
from cimsim.nn import AnalogLinear
from cimsim.torch_private import load_hooks
from tests.building import device

COARSE, FINE = device(dac=4, adc=4), device(dac=8, adc=8)


def network(layers: int = 5) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(6, 6) for _ in range(layers)))


def calibrated(layers: int = 5) -> nn.Module:
    return cimsim.calibrate(cimsim.convert(network(layers), COARSE), [torch.randn(16, 6)])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What cimsim writes to the log."""
    written: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: written.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("cimsim").addHandler(handler)
    yield written
    logging.getLogger("cimsim").removeHandler(handler)


def test_each_load_is_one_line_with_the_number_of_layers(lines: list[str]) -> None:
    state, model = calibrated().state_dict(), cimsim.convert(network(), FINE)
    for loads in (1, 2):
        model.load_state_dict(state)
        assert len(lines) == loads
    assert set(lines) == {
        "load_state_dict: the converter ranges of 5 layers ('0', '1', '2', …) were not loaded, "
        "because they belong to other converters; calibrate the model again: "
        "cimsim.calibrate(model, batches)"
    }


def test_copies_and_larger_models_report_once(lines: list[str]) -> None:
    model = cimsim.convert(network(2), FINE)
    state = calibrated(2).state_dict()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.load_state_dict(state)
    whole = nn.Sequential(model)
    whole.load_state_dict({f"0.{name}": tensor for name, tensor in state.items()})
    cimsim.convert(whole.append(nn.Linear(6, 6)), FINE, inplace=True)
    whole.load_state_dict({f"0.{name}": tensor for name, tensor in state.items()}, strict=False)
    assert len(lines) == 4
    assert all("2 layers ('0', '1')" in line for line in lines)


def test_a_single_layer_reports(lines: list[str]) -> None:
    layer = cimsim.convert(nn.Linear(6, 6), FINE)
    assert isinstance(layer, AnalogLinear)
    layer.load_state_dict(calibrated(1)[0].state_dict())  # type: ignore[index]
    assert [line.partition(" were not loaded")[0] for line in lines] == [
        "load_state_dict: the converter ranges of 1 layer ('')"
    ]


def test_nothing_is_reported_where_no_calibration_is_needed(
    lines: list[str],
) -> None:
    state = calibrated().state_dict()
    for model in (calibrated(), cimsim.convert(network(), "ideal"), network()):
        model.load_state_dict(state, strict=False)
    cimsim.convert(network(), FINE).load_state_dict(network().state_dict(), strict=False)
    assert not lines


def test_a_digital_model_has_no_hook() -> None:
    plain = cimsim.to_digital(cimsim.convert(network(), FINE))
    assert not any(load_hooks(module) for module in plain.modules())
