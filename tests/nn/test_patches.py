"""Modules that have a forward of their own, as the hooks of Accelerate give them."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from tests.building import device
from tests.nn.examples import MODULES, Model, input_of

IDEAL = device()


def hook(module: nn.Module, called: list[str]) -> None:
    """Hook ``module`` as ``accelerate.hooks.add_hook_to_module`` does."""
    patched: Any = module
    patched._old_forward = patched.forward

    def forward(module: Any, *args: Any, **settings: Any) -> Any:
        called.append(type(module).__name__)
        return module._old_forward(*args, **settings)

    patched.forward = functools.update_wrapper(
        functools.partial(forward, module), patched._old_forward
    )


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_hooked_modules_are_converted(kind: str, after: bool, inplace: bool) -> None:
    model, x = Model(MODULES[kind]), input_of(MODULES[kind])
    plain, called = copy.deepcopy(model), list[str]()
    if not after:
        hook(model.layer, called)
    analog = cimsim.convert(model, "pcm-ibm-2020", inplace=inplace)
    if after:
        hook(analog.layer, called)
    cimsim.calibrate(analog, [x])
    assert len(called) == 1
    with torch.no_grad():
        assert not torch.equal(analog.eval()(x), analog(x))  # read noise
        digital = cimsim.to_digital(analog)
        torch.testing.assert_close(digital(x), plain(x))
    assert called[-1] == type(plain.layer).__name__


@pytest.mark.parametrize("kind", MODULES)
def test_a_forward_of_its_own_leaves_a_module_digital(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may call the forward of the digital class, which it holds."""
    model: Any = nn.ModuleDict({"one": Model(MODULES[kind]), "other": nn.Linear(2, 2)})
    before = model.one.layer.forward
    model.one.layer.forward = lambda *signals: before(*signals)
    analog = cimsim.convert(model, IDEAL, inplace=True)
    assert list(analog_layers(analog)) == ["other"]
    assert "its own attribute 'forward' replaces the forward of its class" in caplog.text


def test_a_forward_of_its_own_cannot_become_digital() -> None:
    analog: Any = cimsim.convert(nn.Linear(6, 4), IDEAL)
    before = analog.forward
    analog.forward = lambda x: before(x) * 2
    with pytest.raises(CimsimError, match="its own attribute 'forward' replaces the forward"):
        cimsim.to_digital(analog)


def test_attributes_that_an_analog_layer_uses_come_back(caplog: pytest.LogCaptureFixture) -> None:
    layer: Any = nn.Linear(6, 4)
    layer.name, layer.seed, layer.digital, layer.color = "first", "s", None, "red"
    analog: Any = cimsim.convert(nn.Sequential(layer), IDEAL)
    assert "uses itself ('name', 'seed', 'digital'); to_digital restores them" in caplog.text
    assert analog[0].name == "0"
    assert analog[0].color == "red"
    assert vars(cimsim.to_digital(analog)[0]).keys() == vars(layer).keys()
    back: Any = cimsim.to_digital(analog, inplace=True)[0]
    assert (back.name, back.seed, back.digital, back.color) == ("first", "s", None, "red")
