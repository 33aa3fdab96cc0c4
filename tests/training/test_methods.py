"""Methods, compared with the same forward pass written in plain autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.nn import profiles
from cimsim.profile import load_profile
from cimsim.seeds import generator
from cimsim.training.config import make_config
from cimsim.training.methods import METHODS, Method, make_method

ROWS, SIGMA, STEP = 16, 0.05, 3


def converted(model: nn.Module, x: Tensor) -> nn.Module:
    profile = load_profile("pcm-ibm-2020", (f"array.rows={ROWS}", "adc.bits=4", "dac.bits=4"))
    return cimsim.calibrate(cimsim.convert(model, profile), [x]).train()


def method_for(model: nn.Module, name: str, **settings: object) -> Method:
    config = make_config(profile="pcm-ibm-2020", method=name, gaussian_sigma=SIGMA, **settings)
    return make_method(config, profiles(model))


def rounded(v: Tensor, full_scale: Tensor, lowest: int, highest: int) -> Tensor:
    """Clip and round; the gradient passes straight through the rounding."""
    step = full_scale.double() / highest
    codes = (v / step).clamp(lowest, highest)
    return (codes + (codes.round() - codes).detach()) * step


def noisy(weight: Tensor, name: str) -> Tensor:
    xi = torch.empty_like(weight).normal_(generator=generator("standard-nat", 0, STEP, name))
    return weight + SIGMA * weight.abs().max() * xi


@pytest.mark.parametrize("scale", [1.0, 3.0], ids=["in the range", "saturating"])
def test_fake_quantized_is_plain_autograd(scale: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 40, dtype=torch.float64)
    model = converted(nn.Sequential(nn.Linear(40, 6)).double(), x)
    layer, out_weight = model[0], torch.randn(32, 6, dtype=torch.float64)
    x = (scale * x).requires_grad_()
    with method_for(model, "fake-quantized").setting(model, 1.0, STEP):
        y = model(x)
        (y * out_weight).sum().backward()

    weight = layer.weight.detach().clone().requires_grad_()
    inputs = x.detach().clone().requires_grad_()
    codes, expected = rounded(inputs, layer.dac_range, -7, 7), layer.bias.detach().clone()
    for start, stop in ((0, 14), (14, 28), (28, 40)):  # rows are distributed evenly
        tile = noisy(weight, "0")[:, start:stop]
        largest = tile.abs().amax(dim=1).detach()
        currents = codes[:, start:stop] @ (tile / largest[:, None]).T
        expected = expected + rounded(currents, layer.adc_range, -8, 7) * largest
    (expected * out_weight).sum().backward()
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x.grad, inputs.grad, rtol=1e-9, atol=1e-9)


def test_standard_training_has_no_converters() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 40, dtype=torch.float64)
    model = converted(nn.Sequential(nn.Linear(40, 6)).double(), x)
    with method_for(model, "standard-nat").setting(model, 1.0, STEP):
        y = model(x)
    layer = model[0]
    torch.testing.assert_close(y, x @ noisy(layer.weight, "0").T + layer.bias)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("statistics", ["chip", "training"])
def test_every_method_measures_batch_norm_on_the_chip(name: str, statistics: str) -> None:
    """With compressed currents, the chip's mean differs from the digital one, which the
    statistics of training are equal to."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(40, 6), nn.BatchNorm1d(6))
    x = torch.randn(2000, 40) + 1.0
    profile = load_profile("ideal", ("adc.bits=8", "adc.errors=[{kind: compression, n: 5}]"))
    model = cimsim.calibrate(cimsim.convert(network, profile), [x])
    norm = model[1]
    before = norm.running_mean.clone()
    method = method_for(model, name, statistics=statistics)
    method.finish(model, [x[:1000], x[1000:]])
    if statistics == "training":
        torch.testing.assert_close(norm.running_mean, before)
    else:
        cimsim.program(model.eval(), seed=1)
        torch.testing.assert_close(norm.running_mean, model[0](x).mean(dim=0), rtol=0, atol=2e-3)
        assert (
            norm.running_mean - (x @ model[0].weight.T + model[0].bias).mean(0)
        ).abs().max() > 0.1
