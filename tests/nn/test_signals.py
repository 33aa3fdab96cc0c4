"""Signal-to-noise ratio and clipping of a layer, against closed forms and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import measure_signals
from tests.building import device, gaussian


def test_multiplicative_mismatch() -> None:
    torch.manual_seed(0)
    model = cimsim.convert(nn.Linear(40, 30, bias=False), "mismatch")  # W (1 + 0.3 xi)
    x, w = torch.randn(64, 40), model.weight.detach()
    found = measure_signals(model, [x], range(60))[""]
    power = (x @ w.T).square().sum()
    error = 0.3**2 * (x.square() @ w.square().T).sum()
    # 1800 independent columns: the power of the error is known to within 3.5 %, 0.15 dB.
    assert found.snr_dB == pytest.approx(10 * math.log10(power / error), abs=0.5)
    assert found.dac_cut is None
    assert found.adc_cut is None


def test_read_noise_of_a_pair_of_cells() -> None:
    torch.manual_seed(0)
    noisy = device(read=[gaussian(0.02)])
    model = cimsim.convert(nn.Linear(40, 30), noisy)
    x, w = torch.randn(500, 40), model.weight.detach()
    found = measure_signals(model, x.split(100), [3])[""]
    power = (x @ w.T + model.bias.detach()).square().sum()
    scale = w.abs().amax(1)  # of a column: its largest weight has full conductance
    error = 2 * 0.02**2 * x.square().sum() * scale.square().sum()
    assert found.snr_dB == pytest.approx(10 * math.log10(power / error), abs=0.2)


def test_what_converters_cut_off_by_hand() -> None:
    model = cimsim.convert(nn.Linear(2, 2, bias=False), device(dac=8, adc=8))
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    model.dac_range.fill_(1.0)
    model.adc_range.fill_(0.6)
    x = torch.tensor([[0.5, 1.0], [1.5, -2.0]])  # coded as 0.5, 1, 1, -1
    found = measure_signals(model, [x[:1], x[1:]], [0, 1])[""]
    assert (found.inputs, found.inputs_cut) == (8, 4)
    assert (found.currents, found.currents_cut) == (8, 6)
    assert (found.dac_cut, found.adc_cut) == (0.5, 0.75)
    assert found.products == 2 * 2 * 2 * 2  # chips, vectors, rows, columns
    # 0.5 comes back but for its rounding, and all else as 0.6 or one code below -0.6.
    step = 0.6 / 127
    lowest = -0.6 - step
    expected = 2 * (0.4**2 + 0.9**2 + (lowest + 2) ** 2)
    assert found.error == pytest.approx(expected, abs=2 * step)


def test_inputs_are_those_of_the_digital_model() -> None:
    torch.manual_seed(0)
    noisy = cimsim.load_profile("mismatch")
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(32, 8)
    alone = measure_signals(cimsim.convert(net, noisy, keep_digital=["0"]), [x], [5])["2"]
    model = cimsim.convert(net, noisy)
    found = measure_signals(model, [(x, None)], [5])
    assert found["2"] == alone
    assert found["0"].products == 32 * 64
    assert not any(layer.digital for layer in cimsim.analog_layers(model).values())
    assert model.training
    assert not model[0]._forward_hooks


@pytest.mark.parametrize(
    ("layer", "x", "products"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (5, 4, 7, 7), 5 * 49 * 6 * 2 * 9),
        (nn.ConvTranspose1d(4, 6, 3), (5, 4, 7), 5 * 7 * 4 * 6 * 3),
        (nn.LSTM(4, 6, batch_first=True), (5, 7, 4), None),
        (nn.MultiheadAttention(8, 2, batch_first=True), None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_layer(
    layer: nn.Module, x: tuple[int, ...] | None, products: int | None
) -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x, x, x)[0] if given is None else self.layer(x)

    given = x
    torch.manual_seed(0)
    inputs = torch.randn(*(x or (5, 7, 8)))
    model = cimsim.convert(Alone(), "pcm-ibm-2020")
    cimsim.calibrate(model, [inputs])
    found = measure_signals(model, [inputs], [0, 1])
    assert set(found) == set(cimsim.analog_layers(model))
    for signals in found.values():
        assert 5 < signals.snr_dB < 60
        assert 0 <= signals.adc_cut < 0.2
    if products is not None:
        assert found["layer"].products == 2 * products


def test_without_ranges_nothing_can_be_measured() -> None:
    model = cimsim.convert(nn.Linear(4, 4), "pcm-ibm-2020")
    with pytest.raises(CimsimError, match="no range yet"):
        measure_signals(model, [torch.randn(2, 4)])
    assert not model._forward_hooks
