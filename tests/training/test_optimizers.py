"""Optimizers by name."""

from __future__ import annotations

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, convert, set_profile
from cimsim.profile import with_learned_ranges
from cimsim.training.optimizers import OPTIMIZERS, make_optimizer
from tests.building import device


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    return convert(torch.nn.Sequential(*layers), device())


@pytest.mark.parametrize("part", list(OPTIMIZERS), ids=lambda part: part.name)
def test_every_parameter_has_one_optimizer_and_moves(part: type) -> None:
    model = network()
    built = make_optimizer(part.name).build(model, lr=0.1)
    owned = [p for o in built for group in o.param_groups for p in group["params"]]
    assert {id(p) for p in owned} == {id(p) for p in model.parameters()}
    assert len(owned) == len(list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(8):
        for p in model.parameters():
            p.grad = torch.linspace(0.5, 1, p.numel()).view_as(p)
        for optimizer in built:
            optimizer.step()
    for p, was in zip(model.parameters(), before, strict=True):
        assert not torch.equal(p, was)


@pytest.mark.parametrize("part", list(OPTIMIZERS), ids=lambda part: part.name)
def test_ranges_of_converters_do_not_decay_and_move_faster(part: type) -> None:
    model = set_profile(network(), with_learned_ranges(device(dac=8, adc=8), ("dac", "adc")))
    ranges = {id(r) for layer in analog_layers(model).values() for r in layer.learned_ranges}
    assert len(ranges) == 4
    rates = {
        id(p): (group.get("lr"), group.get("weight_decay"))
        for built in make_optimizer(part.name).build(model, lr=0.1, weight_decay=0.5)
        for group in built.param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        if id(parameter) in ranges:
            assert rates[id(parameter)] == (pytest.approx(1.0), 0.0)
        elif name.endswith("bias"):  # the weights may belong to the chain
            assert rates[id(parameter)] == (0.1, 0.5)


def test_sgd_is_a_ball_with_friction() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    (optimizer,) = make_optimizer("sgd:momentum=0.5").build(model, lr=0.1)
    start = model.weight.item()
    for _ in range(3):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
    assert model.weight.item() == pytest.approx(start - 0.1 * (1 + 1.5 + 1.75))


def test_a_ternary_chain_leaves_three_values() -> None:
    model = network()
    make_optimizer("ternary-chain").build(model, lr=0.1)
    for layer in analog_layers(model).values():
        assert len(layer.weight.unique()) == 3


def test_what_is_refused() -> None:
    with pytest.raises(CimsimError, match="unknown optimizer 'adm'; did you mean 'adam'"):
        make_optimizer("adm")
    with pytest.raises(CimsimError, match="momentum"):
        make_optimizer("sgd:momentum=1")
    with pytest.raises(CimsimError, match="no analog layer"):
        make_optimizer("ternary-chain").build(torch.nn.Linear(2, 2), lr=0.1)
