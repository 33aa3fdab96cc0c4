"""A learned range of the inputs is a part of the network: the digital layer clips, too."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import cimsim
from cimsim.estimators import RULES
from cimsim.nn import analog_layers
from cimsim.nn.input_clip import InputClip, clipped
from cimsim.profile import Profile, override_profile
from tests.building import device
from tests.nn.layer_kinds import LAYERS

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]


def trained(make: Callable[[], nn.Module], x: torch.Tensor) -> nn.Module:
    """A model with ranges as if they were learned: half of the calibrated ones."""
    torch.manual_seed(0)
    model = cimsim.convert(make(), device(dac=16), learn_ranges="dac")
    cimsim.calibrate(model, [x]).eval()
    with torch.no_grad():
        for layer in analog_layers(model).values():
            layer.dac_range.mul_(0.5)
    return model


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", LAYERS.values(), ids=list(LAYERS))
def test_the_digital_model_computes_as_an_exact_chip(case: Case) -> None:
    """With 16-bit inputs and perfect cells, both are the same function, beyond the range too."""
    make, shape = case
    torch.manual_seed(1)
    x = torch.randn(shape)
    if not x.numel():
        pytest.skip("there is nothing to clip")
    model = trained(make, x)
    on_chip = model(x)
    with cimsim.nn.digital(model):
        digital = model(x)
    torch.testing.assert_close(digital, on_chip, atol=2e-3, rtol=1e-3)
    torch.manual_seed(0)
    unclipped = make().eval()(x)
    assert (digital - unclipped).abs().max() > 0.02


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", LAYERS.values(), ids=list(LAYERS))
def test_a_chip_with_ideal_converters_computes_as_the_digital_model(case: Case) -> None:
    make, shape = case
    x = torch.randn(shape)
    model = trained(make, x)
    cimsim.nn.set_profile(model, without_bits(model, "dac", "adc"))
    on_chip = model(x)
    with cimsim.nn.digital(model):
        torch.testing.assert_close(on_chip, model(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_an_ideal_converter_has_the_gradient_of_the_clip(rule: str) -> None:
    """For learned ranges of both converters; nothing is clipped by an ideal ADC."""
    x = torch.randn(32, 6)
    model = cimsim.convert(
        nn.Linear(6, 4), device(dac=16, adc=16), learn_ranges=("dac", "adc"), rule=rule
    )
    cimsim.calibrate(model, [x])
    with torch.no_grad():
        model.dac_range.mul_(0.5)
    cimsim.nn.set_profile(model, without_bits(model, "dac", "adc"))
    model.train()(x).square().sum().backward()
    bound = model.dac_range.detach().clone().requires_grad_()
    weight, bias = model.weight.detach(), model.bias.detach()
    nn.functional.linear(clipped(x, bound), weight, bias).square().sum().backward()
    torch.testing.assert_close(model.dac_range.grad, bound.grad)
    assert model.adc_range.grad is None


def without_bits(model: nn.Module, *converters: str) -> Profile:
    """The profile of ``model`` with ideal converters."""
    profile = next(iter(analog_layers(model).values())).profile
    return override_profile(profile, [f"{name}.bits=null" for name in converters])


@pytest.mark.parametrize("name", ["linear", "linear, many axes", "conv, everything", "conv 1d"])
def test_the_ordinary_model_keeps_it_in_a_hook(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make, shape = LAYERS[name]
    x = torch.randn(shape)
    model = trained(lambda: nn.Sequential(make()), x)
    with cimsim.nn.digital(model):
        expected = model(x)
    with caplog.at_level(logging.WARNING, "cimsim"):
        plain = cimsim.to_digital(model)
    assert type(plain[0]) is type(make())
    assert plain.state_dict().keys() == nn.Sequential(make()).state_dict().keys()
    for each in (plain, copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        torch.testing.assert_close(each(x), expected)
    assert caplog.text.count("'0' clip their inputs at learned ranges") == 1


def test_recurrences_lose_it_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = trained(lambda: nn.LSTM(4, 5), torch.randn(6, 2, 4))
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.to_digital(model)
    assert "'ih_l0', 'hh_l0' were trained with inputs clipped" in caplog.text


def test_measured_and_unknown_ranges_do_not_clip() -> None:
    x = torch.randn(32, 6)
    measured = cimsim.calibrate(cimsim.convert(nn.Linear(6, 4), device(dac=4)), [x])
    unknown = cimsim.convert(nn.Linear(6, 4), device(dac=4), learn_ranges="dac")
    for model in (measured, unknown):
        plain = cimsim.to_digital(model)
        with cimsim.nn.digital(model):
            assert torch.equal(model(100 * x), plain(100 * x))
        assert not plain._forward_pre_hooks


def test_digital_steps_of_a_training_are_not_clipped() -> None:
    x = 3 * torch.randn(32, 6)
    model = trained(lambda: nn.Linear(6, 4), x)
    plain = nn.functional.linear(x, model.weight, model.bias)
    with cimsim.nn.digital(model):
        assert not torch.equal(model.eval()(x), plain)
        torch.testing.assert_close(model.train()(x), plain)


def test_gradients_are_those_of_a_clip() -> None:
    x = torch.tensor([-3.0, -0.5, 0.5, 2.0, 3.0], requires_grad=True)
    bound = torch.tensor(1.0, requires_grad=True)
    y = clipped(x, bound)
    assert y.tolist() == [-1.0, -0.5, 0.5, 1.0, 1.0]
    y.sum().backward()
    assert x.grad is not None
    assert bound.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert bound.grad.item() == 1.0  # twice +1, once -1
    assert torch.equal(clipped(x, torch.tensor(torch.nan)), x)


def test_a_hook_takes_further_arguments() -> None:
    hook = InputClip(torch.tensor(1.0))
    first, second = hook(nn.Identity(), (torch.tensor([3.0]), "other"))
    assert (first.item(), second) == (1.0, "other")


def test_an_own_chip_gets_clipped_inputs() -> None:
    x = 3 * torch.randn(32, 6)
    model = trained(lambda: nn.Sequential(nn.Linear(6, 4)), x)
    seen: list[torch.Tensor] = []

    def chip(layer: str, vectors: torch.Tensor) -> torch.Tensor:
        seen.append(vectors)
        return vectors @ cimsim.nn.matrices(model)[layer].t()

    cimsim.nn.use_chip(model, chip)
    with torch.no_grad():
        y = model(x)
    with cimsim.nn.digital(model):
        torch.testing.assert_close(model(x), y)
    assert seen[0].abs().max().item() == pytest.approx(model[0].dac_range.item())


@pytest.mark.parametrize("converter", ["dac", "adc"])
def test_a_range_of_an_ideal_converter_is_no_parameter(
    converter: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing would ever set it, so that the model would keep a parameter of NaN."""
    keys = {f"{converter}.bits": None, f"{converter}.range": {"kind": "learned"}}
    model = cimsim.convert(nn.Linear(6, 4), override_profile(device(dac=4, adc=4), keys))
    cimsim.calibrate(model, [torch.randn(32, 6)])
    assert {name for name, _ in model.named_parameters()} == {"weight", "bias"}
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.to_digital(model)
    assert not caplog.records


def test_a_learned_range_is_a_parameter_again_where_the_dac_has_bits() -> None:
    x = torch.randn(32, 6)
    model = trained(lambda: nn.Linear(6, 4), x)
    learned, known = model.profile, model.dac_range.detach().clone()
    ideal = cimsim.convert(nn.Linear(6, 4), without_bits(model, "dac"))
    cimsim.nn.set_profile(ideal, learned)
    assert isinstance(ideal.dac_range, nn.Parameter)
    loaded = cimsim.convert(nn.Linear(6, 4), without_bits(model, "dac"))
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.dac_range, known)
    cimsim.nn.set_profile(loaded, learned)
    assert isinstance(loaded.dac_range, nn.Parameter)
    assert torch.equal(loaded.dac_range, known)


def test_a_learned_range_stays_the_same_parameter_on_other_profiles() -> None:
    model = trained(lambda: nn.Linear(6, 4), torch.randn(32, 6))
    learned, parameter = model.profile, model.dac_range
    for profile in (without_bits(model, "dac"), learned):
        cimsim.nn.set_profile(model, profile)
        assert model.dac_range is parameter
