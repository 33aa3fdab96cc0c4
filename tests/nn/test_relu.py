"""ReLU and ReLU6 that keep one bit of each value are torch's in everything but memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import cimsim
from cimsim.kernels import Use, cpu, use
from cimsim.nn.relu import ReLU, ReLU6
from tests.kept import saved_bytes
from tests.nn.as_torch import (
    TRANSFORMS,
    Wrapped,
    compiled,
    many_gradients,
    numbers,
    results,
    same,
    second_derivatives,
    transformed,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
Kinds: TypeAlias = tuple[type[nn.Module], type[nn.Module]]
"""Ours and that of torch."""
needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)


@pytest.fixture(params=[(ReLU, nn.ReLU), (ReLU6, nn.ReLU6)], ids=["ReLU", "ReLU6"])
def kinds(request: pytest.FixtureRequest) -> Kinds:
    found: Kinds = request.param
    return found


def without_nan(kinds: Kinds, x: Tensor) -> Tensor:
    """``x``; for ReLU6 without NaN, by which torch's gradient depends on the place in memory."""
    return x if kinds[0] is ReLU else x.nan_to_num(1.0, torch.inf, -torch.inf)


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: numbers(8, 3, 29, 31),
    "a few": lambda: numbers(3, 5),
    "no dimension": lambda: torch.tensor(-2.0),
    "no numbers": lambda: torch.empty(3, 0, 4),
    "channels last": lambda: numbers(8, 3, 29, 31).contiguous(memory_format=torch.channels_last),
    "volumes, channels last": lambda: numbers(8, 3, 5, 17, 11).contiguous(
        memory_format=torch.channels_last_3d
    ),
    "transposed": lambda: numbers(129, 131).t(),
    "permuted": lambda: numbers(32, 33, 34).permute(2, 0, 1),
    "gaps": lambda: numbers(129, 263)[:, 1::2],
    "a part": lambda: numbers(40000)[17:20020],
    "expanded": lambda: numbers(129, 1).expand(129, 131),
    "overlapping": lambda: numbers(20100).as_strided((200, 200), (99, 1)),
    "strides of one": lambda: numbers(20000).as_strided((20000, 1), (1, 9)),
    "negated": lambda: torch.complex(numbers(140, 140), numbers(140, 140, seed=1)).conj().imag,
    "float64": lambda: numbers(129, 131).double(),
    "bfloat16": lambda: numbers(129, 131).bfloat16(),
    "float16": lambda: numbers(129, 131).half(),
    "int32": lambda: torch.arange(-9000, 9000, dtype=torch.int32),
    "complex": lambda: torch.complex(numbers(140, 140), numbers(140, 140)),
    "a subclass": lambda: numbers(129, 131).as_subclass(Wrapped),
    "a parameter": lambda: nn.Parameter(numbers(129, 131)),
    "sparse": lambda: torch.randn(140, 140).relu().to_sparse(),
    "meta": lambda: torch.empty(129, 131, device="meta"),
}


@pytest.mark.parametrize("which", get_args(Use))
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bit_for_bit(layout: str, leaf: bool, inplace: bool, which: Use, kinds: Kinds) -> None:
    found = []
    for kind in kinds:
        torch.manual_seed(0)
        with use(which):
            found.append(results(kind(inplace), LAYOUTS[layout](), leaf, at_nan=kinds[0] is ReLU))
    ours, theirs = found
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other, strides=mine is not ours[-1])  # strides of gradients are free


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    kinds=st.sampled_from([(ReLU, nn.ReLU), (ReLU6, nn.ReLU6)]),
    seed=st.integers(0, 99),
    inplace=st.booleans(),
    threads=st.integers(1, 3),
)
def test_any_shape_and_order_of_axes(
    shape: list[int], order: Any, kinds: Kinds, seed: int, inplace: bool, threads: int
) -> None:
    shape = [*shape, -(-17000 // torch.Size(shape).numel())]
    axes = order.sample(range(len(shape)), len(shape))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for kind in kinds:
            leaf = without_nan(kinds, numbers(*shape, seed=seed)).requires_grad_()
            x = (leaf.permute(axes) * 1.0) if inplace else leaf.permute(axes)
            y = kind(inplace)(x)
            dy = numbers(*y.shape, seed=seed + 1)
            found.append((y, *torch.autograd.grad(y, leaf, dy)))
        for mine, other, strides in zip(*found, (True, False), strict=True):
            same(mine, other, strides)
    finally:
        torch.set_num_threads(before)


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "expanded": lambda y: torch.tensor(2.0).expand_as(y),
    "of another order": lambda y: torch.randn_like(y).transpose(0, 1).contiguous().transpose(0, 1),
    "gaps": lambda y: torch.randn(*y.shape, 2)[..., 0],
    "not numbers": lambda y: torch.full_like(y, float("nan")),
    "negated": lambda y: torch.complex(torch.randn_like(y), torch.randn_like(y)).conj().imag,
}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_any_gradient(gradient: str, kinds: Kinds) -> None:
    found = []
    for kind in kinds:
        torch.manual_seed(0)
        x = without_nan(kinds, numbers(129, 131))
        found.append(results(kind(), x, False, GRADIENTS[gradient](x)))
    for mine, other in zip(*found, strict=True):
        same(mine, other, strides=False)


def test_second_derivatives(kinds: Kinds) -> None:
    x = torch.randn(129, 131, generator=torch.Generator().manual_seed(0))
    for mine, other in zip(*(second_derivatives(kind(), x) for kind in kinds), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_several_gradients_at_once(kinds: Kinds) -> None:
    x = without_nan(kinds, numbers(129, 131))
    same(*(many_gradients(kind(), x) for kind in kinds), strides=False)


def test_backward_twice_and_through_checkpoints(kinds: Kinds) -> None:
    x = numbers(129, 131).requires_grad_()
    y = kinds[0]()(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    same(torch.autograd.grad(y.sum(), x)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
    for reentrant in (False, True):
        y = checkpoint(kinds[0](), x, use_reentrant=reentrant)
        x.grad = None
        y.sum().backward()
        assert x.grad is not None
        same(x.grad, first)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 6.0), (0.0, 3.0), (2.0, 6.0)])
def test_other_limits(low: float, high: float) -> None:
    found = []
    for kind in (ReLU6, nn.ReLU6):
        clamp = kind()
        clamp.min_val, clamp.max_val = low, high
        found.append(results(clamp, torch.linspace(-9, 9, 20000), False, torch.ones(20000)))
    for mine, other in zip(*found, strict=True):
        same(mine, other)


def test_zeros_without_memory(kinds: Kinds) -> None:
    zeros, x = torch._efficientzerotensor((129, 131)), numbers(129, 131)
    same(*(kind()(zeros.requires_grad_()) for kind in kinds))
    gradients = []
    for kind in kinds:
        leaf = x.clone().requires_grad_()
        gradients += torch.autograd.grad(kind()(leaf), leaf, zeros.detach())
    assert not any(dx.any() for dx in gradients)


@needs_kernels
def test_an_output_may_be_changed_in_place(kinds: Kinds) -> None:
    x = numbers(129, 131).requires_grad_()
    y = kinds[0]()(x)
    expected = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    y.add_(1.0)
    same(torch.autograd.grad(y.sum(), x)[0], expected)


def test_an_input_that_is_needed_must_not_be_changed_in_place() -> None:
    x = numbers(129, 131).requires_grad_()
    y = x.exp()
    ReLU(inplace=True)(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of functionalize and export
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_as_that_of_torch(transform: str, inplace: bool, kinds: Kinds) -> None:
    x = numbers(129, 131).nan_to_num(0.0, 1.0, -1.0)
    same(*(transformed(transform, kind(inplace), x) for kind in kinds))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("inplace", [False, True])
def test_compiled_without_a_break(inplace: bool, backend: str, kinds: Kinds) -> None:
    class Behind(nn.Module):
        """Behind another operation: its input is neither a leaf nor a view."""

        def __init__(self, activation: nn.Module) -> None:
            super().__init__()
            self.activation = activation

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.activation(x * 1.0)
            return y

    found = (compiled(Behind(kind(inplace)), numbers(129, 131), backend) for kind in kinds)
    for mine, other in zip(*found, strict=True):
        same(mine, other)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch's own reading
def test_backward_in_a_compiled_graph(kinds: Kinds) -> None:
    torch.compiler.reset()
    found = []
    for kind in kinds:
        x = without_nan(kinds, numbers(129, 131)).requires_grad_()
        y = kind()(x)
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            y.sum().backward()
        assert x.grad is not None
        found.append(x.grad)
    same(*found)


# What is kept.


@needs_kernels
@pytest.mark.parametrize("inplace", [False, True])
def test_one_bit_of_each_value(inplace: bool, kinds: Kinds) -> None:
    ours, theirs = kinds
    x = numbers(129, 131).requires_grad_() * 1.0
    assert saved_bytes(ours(inplace), x) == (129 * 131 + 7) // 8
    assert saved_bytes(theirs(), x) == 4 * 129 * 131
    with torch.device("cpu"):  # as torch.set_default_device sets it
        assert saved_bytes(ours(inplace), x) == (129 * 131 + 7) // 8


def net(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (3, 16, 16):
        convolution = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(16), nn.ReLU(inplace)]
    return nn.Sequential(*layers)


@needs_kernels
@pytest.mark.parametrize("inplace", [False, True])
def test_a_converted_net_keeps_less(inplace: bool) -> None:
    """Behind a normalization, which keeps its input: 4 bytes of 8, and at most 1.5 instead of 4."""
    x = torch.rand(8, 3, 16, 16)
    analog = cimsim.calibrate(cimsim.convert(net(inplace), "pcm-ibm-2020"), [x])
    theirs, ours = saved_bytes(net(inplace), x), saved_bytes(analog.train(), x)
    assert ours < 0.7 * theirs


def test_nothing_is_kept_without_gradients() -> None:
    x = numbers(129, 131)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: t):
        ReLU()(x)
        with torch.no_grad():
            ReLU()(x.requires_grad_())
    assert not kept


def test_gradients_of_a_converted_net_do_not_depend_on_it() -> None:
    x, found = torch.rand(8, 3, 16, 16), []
    analog = cimsim.calibrate(cimsim.convert(net(), "pcm-ibm-2020"), [x]).train()
    plain = copy.deepcopy(analog)
    for module in plain.modules():
        if type(module) is ReLU:
            module.__class__ = nn.ReLU
    for model in (analog, plain):
        model(x).square().sum().backward()
        found.append([p.grad for p in model.parameters()])
    for mine, other in zip(*found, strict=True):
        same(mine, other)
