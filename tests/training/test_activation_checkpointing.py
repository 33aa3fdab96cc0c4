"""Modules that compute their activations again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import cimsim
from cimsim.errors import CimsimError
from cimsim.training.activation_checkpointing import recompute


def model() -> nn.Module:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3), nn.ReLU()) for _ in range(3)]
    x = torch.randn(4, 8)
    return cimsim.calibrate(cimsim.convert(nn.Sequential(*blocks), "pcm-ibm-2020"), [x])


def inputs() -> Tensor:
    return torch.randn(16, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_the_second_time_is_the_first() -> None:
    gradients = []
    for again in (False, True):
        net = model()
        if again:
            recompute(net, ["?"])
        torch.manual_seed(5)
        x = inputs()
        if again:
            y = net(x)
        else:  # drawn as with recomputation
            with saved_tensors_hooks(lambda t: t, lambda t: t):
                y = net(x)
        y.square().sum().backward()
        assert x.grad is not None
        gradients.append([x.grad, *(p.grad for p in net.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_without_gradients_it_draws_the_same() -> None:
    net = model()
    recompute(net, ["*"])
    answers = []
    for grad in (True, False):
        torch.manual_seed(5)
        with torch.set_grad_enabled(grad):
            answers.append(net(inputs()).detach())
    assert torch.equal(*answers)


def test_less_is_kept() -> None:
    def kept(net: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with saved_tensors_hooks(pack, lambda t: t):
            net(torch.randn(256, 8))
        return sum(sizes.values())

    net = model()
    before = kept(net)
    recompute(net, ["*"])
    assert kept(net) == 3 * 256 * 8 * 4  # the inputs of three blocks
    assert before > 2 * kept(net)


def test_evaluation_is_left_alone() -> None:
    net = model().eval()
    expected = net(inputs())
    recompute(net, ["*"])
    assert torch.equal(cimsim.program(net)(inputs()), expected)


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(CimsimError, match=r"recompute: unknown module 'blocks\.\*'"):
        recompute(model(), ["blocks.*"])
