"""Models that Accelerate has put on devices, as ``device_map=`` of Hugging Face does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import cimsim
from cimsim.nn import analog_layers

accelerate = pytest.importorskip("accelerate", reason="needs accelerate")


def test_a_dispatched_model_becomes_analog() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    places = dict.fromkeys("012", "cpu")
    accelerate.dispatch_model(model, places, main_device="cpu", force_hooks=True)
    x = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x]).eval()
    assert list(analog_layers(analog)) == ["0", "2"]
    with torch.no_grad():
        for layer in (analog[0], analog[2]):
            assert not torch.equal(layer(x), layer(x))  # read noise
        torch.testing.assert_close(cimsim.to_digital(analog)(x), model(x))
