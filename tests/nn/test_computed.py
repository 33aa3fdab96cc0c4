"""Layers whose weight is computed, by a parametrization or a hook: every kind, every way."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, AnalogLinear, analog_layers
from tests.building import POLYNOMIAL, device
from tests.nn.examples import IN, LAYERS, Model, input_of

IDEAL = device()
STATIC = device(programming=[POLYNOMIAL])

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm.*:FutureWarning")


class Double(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def doubled(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", Double())


def both(layer: nn.Module) -> None:
    parametrizations.weight_norm(layer)
    parametrize.register_parametrization(layer, "weight", Double())


def pruned(layer: nn.Module) -> None:
    prune.l1_unstructured(layer, "weight", 0.5)


PARAMETRIZATIONS: dict[str, Callable[[nn.Module], object]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "one's own": doubled,
    "two of them": both,
}
HOOKS: dict[str, Callable[[nn.Module], object]] = {
    "pruning": pruned,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
}
WAYS = {**PARAMETRIZATIONS, **HOOKS}


def computing(kind: str, way: str) -> Model:
    model = Model(LAYERS[kind])
    WAYS[way](model.layer)
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_computed_weight_is_on_the_chip(kind: str, way: str) -> None:
    """Output, gradients of what the weight is computed from, statistics: all as torch's layer."""
    plain = computing(kind, way)
    analog = cimsim.convert(plain, IDEAL)
    assert cimsim.summary(analog).tiles > 0
    assert cimsim.summary(analog).parameters == cimsim.summary(plain).parameters
    assert [layer.name for layer in cimsim.summary(analog).layers] == ["layer"]
    assert cimsim.summary(analog).layers[0].parameters == cimsim.summary(analog).parameters
    x = input_of(LAYERS[kind])
    ours, theirs = analog(x), plain(x)
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    expected = {name: p.grad for name, p in plain.named_parameters()}
    found = {name: p.grad for name, p in analog.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
    buffers = dict(analog.named_buffers())
    for name, buffer in plain.named_buffers():  # one step of a power iteration, not several
        torch.testing.assert_close(buffers[name], buffer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LAYERS)
def test_states_copies_and_the_way_back(kind: str, way: str) -> None:
    plain = computing(kind, way)
    x = input_of(LAYERS[kind])
    plain(x)
    analog = cimsim.convert(plain, IDEAL)
    with torch.no_grad():
        for parameter in analog.parameters():
            parameter.mul_(1.5)
    analog.load_state_dict(plain.state_dict())  # a digital checkpoint, strictly
    back = cimsim.to_digital(analog)
    assert type(back.layer).__name__ == type(plain.layer).__name__
    assert parametrize.type_before_parametrizations(back.layer) is LAYERS[kind]
    assert list(back.state_dict()) == list(plain.state_dict())
    expected = plain.eval()(x)
    torch.testing.assert_close(back.eval()(x), expected)
    twin = copy.deepcopy(analog)
    torch.testing.assert_close(twin.eval()(x), expected)
    assert (
        twin.layer.handle.item() != analog.layer.handle.item()
    )  # a compiled copy would run the first one
    if way in PARAMETRIZATIONS:
        copy.deepcopy(back)
        analog.eval()  # spectral norm changes at every use in training
        parametrize.remove_parametrizations(analog.layer, "weight")
        assert type(analog.layer).torch_class is LAYERS[kind]
        torch.testing.assert_close(analog.eval()(x), expected)


@pytest.mark.parametrize("way", PARAMETRIZATIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_parametrized_before_or_after_is_the_same(kind: str, way: str) -> None:
    before = cimsim.convert(computing(kind, way), STATIC)
    after = cimsim.convert(Model(LAYERS[kind]), STATIC)
    WAYS[way](after.layer)
    after.load_state_dict(before.state_dict())  # a power iteration starts at random
    x = input_of(LAYERS[kind])
    assert torch.equal(before(x), after(x))
    assert torch.equal(before.eval()(x), after.eval()(x))
    assert type(cimsim.to_digital(after).layer).__name__ == f"Parametrized{kind}"


@pytest.mark.parametrize("way", WAYS)
def test_the_chip_of_evaluation_follows_what_the_weight_is_computed_from(way: str) -> None:
    analog = cimsim.convert(computing("Linear", way), STATIC).eval()
    x = input_of(nn.Linear)
    before = analog(x)
    assert torch.equal(analog(x), before)
    with torch.no_grad():
        for parameter in analog.parameters():
            parameter.add_(0.1 * torch.arange(parameter.numel()).view_as(parameter))
    assert not torch.allclose(analog(x), before)


def test_compiled() -> None:
    """A hook of spectral norm changes the weight at the first call, the others at every step."""
    for way in ("weight_norm", "pruning", "old spectral_norm"):
        torch._dynamo.reset()
        analog = cimsim.convert(computing("Linear", way), STATIC).eval()
        x = input_of(nn.Linear)
        compiled = torch.compile(analog, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), analog(x))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_layer_computes_its_weight_once(backend: str) -> None:
    """Spectral norm takes a step of its power iteration whenever the weight is computed."""
    torch._dynamo.reset()
    model = cimsim.convert(computing("Linear", "spectral_norm"), IDEAL)
    other, x = copy.deepcopy(model), input_of(nn.Linear)
    compiled = torch.compile(other, backend=backend)
    for _ in range(2):
        for each in (model, compiled):
            each(x).square().sum().backward()
    for (name, mine), its in zip(model.named_buffers(), other.buffers(), strict=True):
        if "parametrizations" in name:
            torch.testing.assert_close(its, mine)
    for parameter, its in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(its.grad, parameter.grad)


def test_a_quantizer_and_a_computed_weight() -> None:
    """The chip holds the quantized weight; an ordinary layer has no place for it."""
    analog = cimsim.convert(
        computing("Linear", "weight_norm"), IDEAL, quantize_weights="uniform:bits=2"
    )
    assert len(analog.layer.programmed_weight().unique()) <= 4 * IN
    with pytest.raises(CimsimError, match="the parametrization _WeightNorm computes the weight"):
        cimsim.to_digital(analog)


@pytest.mark.parametrize("where", ["hidden to hidden", "attention"])
def test_a_computed_weight_of_several_layers_stays_digital(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    if where == "attention":
        module: nn.Module = nn.MultiheadAttention(8, 2)
        parametrizations.weight_norm(module, "in_proj_weight")
    else:
        module = nn.LSTM(8, 8)
        prune.l1_unstructured(module, "weight_hh_l0", 0.5)
    model = nn.ModuleDict({"packed": module, "out": nn.Linear(8, 2)})
    with caplog.at_level(logging.WARNING, "cimsim"):
        analog = cimsim.convert(model, IDEAL)
    assert list(analog_layers(analog)) == ["out"]
    assert "layer 'packed'" in caplog.text
    assert "remove that first" in caplog.text


def test_a_parametrized_projection_of_attention() -> None:
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(8, 2).double()
    parametrizations.weight_norm(plain.out_proj)
    analog = cimsim.convert(plain, IDEAL)
    assert isinstance(analog.out_proj, AnalogLinear)
    x = torch.randn(3, 2, 8, dtype=torch.float64)
    torch.testing.assert_close(analog(x, x, x)[0], plain(x, x, x)[0])
    back = cimsim.to_digital(analog)
    assert list(back.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(back(x, x, x)[0], plain(x, x, x)[0])


def test_a_model_that_cannot_be_copied_names_the_way_out() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.generator = (number for number in range(3))
    with pytest.raises(CimsimError, match=r"cannot be copied \(.*generator.*\).*inplace=True"):
        cimsim.convert(model, IDEAL)
    assert isinstance(cimsim.convert(model, IDEAL, inplace=True)[0], AnalogLayer)
    with pytest.raises(CimsimError, match="inplace=True"):
        cimsim.to_digital(model)
