"""A gain and offset behind each column: the regression, its gradient, and what it is good for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import ColumnDenoiser, analog_layers, denoise, digital


def inputs(n: int = 256, seed: int = 1) -> Tensor:
    return torch.randn(n, 24, generator=torch.Generator().manual_seed(seed))


def model(denoise: float | None = 0.01, profile: str = "mismatch", noise: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 5))
    device = cimsim.load_profile(profile).scale_noise(noise)
    return cimsim.convert(layers, device, denoise=denoise)


def test_it_is_ridge_regression_column_by_column() -> None:
    draws = torch.Generator().manual_seed(0)
    t = torch.randn(400, 3, generator=draws)
    y = 0.5 * t + 0.3 * torch.randn(400, 3, generator=draws) + 2.0
    denoiser = ColumnDenoiser(3, ridge=0.1).train()
    found = denoiser(y, t, -1)
    for column in range(3):
        a, b = y[:, column].double(), t[:, column].double()
        cov = ((a - a.mean()) * (b - b.mean())).mean()
        slope = cov / (a.var(correction=0) + 0.1 * b.var(correction=0))
        expected = slope * (a - a.mean()) + b.mean()
        torch.testing.assert_close(found[:, column].double(), expected, atol=1e-4, rtol=1e-4)
    assert (found - t).square().mean() < (y - t).square().mean()


@pytest.mark.parametrize("shape", [(64, 5), (4, 16, 5)])
def test_in_evaluation_it_is_a_gain_and_an_offset(shape: tuple[int, ...]) -> None:
    denoiser = ColumnDenoiser(5)
    assert torch.equal(denoiser.eval()(torch.ones(shape), None, -1), torch.ones(shape))
    y = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    held = denoiser.train()(y, 2 * y + 1, -1)
    torch.testing.assert_close(denoiser.eval()(y, None, -1), held)


def test_its_gradient_knows_the_statistics() -> None:
    denoiser = ColumnDenoiser(2).double().train()
    y = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    t = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)

    def corrected(y: Tensor, t: Tensor) -> Tensor:
        moments = torch.stack([m.mean(0) for m in (y, t, y.square(), y * t, t.square())])
        gain, offset = denoiser._affine(moments)
        return y * gain + offset

    torch.testing.assert_close(denoiser(y, t, -1), corrected(y, t), atol=1e-5, rtol=1e-5)
    assert torch.autograd.gradcheck(corrected, (y, t))


def test_a_measured_chip_is_nearer_to_its_digital_self() -> None:
    errors = {}
    for name, ridge in (("as it is", None), ("denoised", 0.01)):
        net = cimsim.program(model(ridge).eval(), 7)
        if ridge is not None:
            denoise(net, [inputs(seed=s) for s in range(4)])
        with torch.no_grad():
            y = net(inputs(seed=9))
            with digital(net):
                expected = net(inputs(seed=9))
        errors[name] = (y - expected).square().mean().item()
    assert errors["denoised"] < 0.9 * errors["as it is"]


def test_without_noise_it_is_all_but_the_identity() -> None:
    net = cimsim.program(model(1e-6, noise=0.0).eval(), 7)
    denoise(net, [inputs()])
    with torch.no_grad():
        y = net(inputs(seed=3))
        with digital(net):
            torch.testing.assert_close(y, net(inputs(seed=3)), atol=1e-3, rtol=1e-3)


def test_training_with_it_keeps_averages_that_are_saved() -> None:
    net = model().train()
    net(inputs()).square().mean().backward()
    layer = next(iter(analog_layers(net).values()))
    assert layer.denoiser is not None
    assert layer.denoiser.seen == 1
    other = model()
    other.load_state_dict(net.state_dict())
    same = analog_layers(other)["0"].denoiser
    assert same is not None
    assert torch.equal(same.statistics, layer.denoiser.statistics)


def test_what_is_missing_is_told() -> None:
    with pytest.raises(CimsimError, match="converted without denoisers"):
        denoise(model(None), [inputs()])
    with pytest.raises(CimsimError, match="got no batches"):
        denoise(model(), [])


def test_a_batch_that_says_too_little_is_corrected_as_in_evaluation() -> None:
    """Over one sample the regression would give the target itself, whatever the device did."""
    denoiser = ColumnDenoiser(3).train()
    denoiser(torch.randn(64, 3), torch.randn(64, 3), -1)
    seen, y = denoiser.seen.clone(), torch.randn(2, 3)
    found = denoiser(y, torch.full((2, 3), 9.0), -1)
    torch.testing.assert_close(found, denoiser.eval()(y, None, -1))
    assert torch.equal(denoiser.seen, seen)


def test_half_precision_keeps_its_statistics() -> None:
    denoiser = ColumnDenoiser(4).train()
    t = 5 + torch.randn(256, 4)
    denoiser(t + 0.1 * torch.randn(256, 4), t, -1)
    gain = denoiser.affine()[0]
    half = denoiser.to(torch.bfloat16)
    assert half.statistics.dtype == torch.float64
    assert torch.equal(half.affine()[0], gain)
    assert half.eval()(t.bfloat16(), None, -1).dtype == torch.bfloat16


def test_a_dead_column_is_left_alone() -> None:
    denoiser = ColumnDenoiser(2, ridge=0.0).train()
    y = torch.stack((torch.full((64,), 3.0), torch.randn(64)), dim=1)
    found = denoiser(y, torch.randn(64, 2), -1)
    assert torch.equal(found[:, 0], y[:, 0])


@pytest.mark.parametrize("ridge", [-0.1, float("nan"), "0.1"])
def test_a_bad_ridge_is_refused(ridge: float) -> None:
    with pytest.raises(CimsimError, match="the ridge of a denoiser must be a number of 0 or more"):
        model(ridge)


@pytest.mark.parametrize("built", ["on meta", "moved to meta"])
@pytest.mark.parametrize("assign", [True, False])
def test_on_the_meta_device_and_then_filled(built: str, assign: bool) -> None:
    full = cimsim.calibrate(model(), [inputs()])
    full.train()(inputs())  # the denoisers have statistics
    if built == "on meta":
        with torch.device("meta"):
            empty = model()
    else:
        empty = copy.deepcopy(full).to("meta")
    if not assign:
        empty.to_empty(device="cpu")
        denoisers = [part for part in empty.modules() if isinstance(part, ColumnDenoiser)]
        assert all(not part.statistics.any() and part.seen == 0 for part in denoisers)
        assert all(part.statistics.dtype == torch.float64 for part in denoisers)
    empty.load_state_dict(full.state_dict(), assign=assign)
    ours, theirs = (cimsim.program(each.eval(), 1)(inputs()) for each in (empty, full))
    assert torch.equal(ours, theirs)
