"""Max pooling that keeps one byte of each result is torch's in everything but memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import cimsim
from cimsim.kernels import Use, cpu, use
from cimsim.nn.max_pooling import MaxPool1d, MaxPool2d
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
needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)

PAIRS = {1: (MaxPool1d, nn.MaxPool1d), 2: (MaxPool2d, nn.MaxPool2d)}
"""Ours and torch's, by the number of axes."""
SHAPES = {1: (4, 5, 901), 2: (4, 5, 29, 31)}

IMAGES: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: numbers(4, 5, 29, 31),
    "one image": lambda: numbers(19, 29, 31),
    "one channel": lambda: numbers(20, 1, 29, 31),
    "one row": lambda: numbers(20, 9, 1, 100),
    "one column": lambda: numbers(20, 9, 100, 1),
    "one pixel": lambda: numbers(200, 100, 1, 1),
    "equal values": lambda: numbers(4, 5, 29, 31).nan_to_num(0, 1, -1).round(),
    "no numbers but infinities": lambda: torch.full((4, 5, 29, 31), -torch.inf),
    "a few": lambda: numbers(2, 3, 8, 9),
    "no images": lambda: torch.empty(0, 3, 8, 9),
    "no channels": lambda: torch.empty(3, 0, 8, 9),
    "no rows": lambda: torch.empty(3, 2, 0, 9),
    "two axes": lambda: numbers(140, 140),
    "five axes": lambda: numbers(2, 2, 5, 29, 31),
    "channels last": lambda: numbers(4, 5, 29, 31).contiguous(memory_format=torch.channels_last),
    "one channel, the last axis": lambda: numbers(20, 29, 31, 1).permute(0, 3, 1, 2),
    "transposed": lambda: numbers(4, 5, 29, 31).transpose(2, 3),
    "gaps": lambda: numbers(4, 10, 29, 31)[:, ::2],
    "expanded": lambda: numbers(4, 1, 29, 31).expand(4, 5, 29, 31),
    "a part": lambda: numbers(9, 5, 29, 31)[3:8],
    "float64": lambda: numbers(4, 5, 29, 31).double(),
    "bfloat16": lambda: numbers(4, 5, 29, 31).bfloat16(),
    "int32": lambda: torch.arange(4 * 5 * 29 * 31, dtype=torch.int32).view(4, 5, 29, 31),
    "a subclass": lambda: numbers(4, 5, 29, 31).as_subclass(Wrapped),
    "a parameter": lambda: nn.Parameter(numbers(4, 5, 29, 31)),
    "meta": lambda: torch.empty(4, 5, 29, 31, device="meta"),
    "zeros without memory": lambda: torch._efficientzerotensor((4, 5, 29, 31)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "2": {"kernel_size": 2},
    "2, rounded up": {"kernel_size": 2, "ceil_mode": True},
    "3, 2, 1": {"kernel_size": 3, "stride": 2, "padding": 1},
    "of two sizes": {"kernel_size": (3, 2), "stride": (1, 3), "padding": (1, 0)},
    "overlapping": {"kernel_size": 5, "stride": 1, "padding": 2},
    "gaps between": {"kernel_size": 2, "stride": 5},
    "very large stride": {"kernel_size": 2, "stride": 1 << 30},
    "too large stride": {"kernel_size": 2, "stride": 1 << 62},
    "too large kernel": {"kernel_size": 1 << 40},
    "a list": {"kernel_size": [2, 3]},
    "a list of one": {"kernel_size": [2]},
    "a pair and one": {"kernel_size": (3, 2), "padding": (1,)},
    "a list of three": {"kernel_size": [2, 2, 2]},
    "no list": {"kernel_size": 2, "stride": []},
    "a fraction": {"kernel_size": 2.5},
    "of NumPy": {"kernel_size": np.int64(2)},
    "a tensor": {"kernel_size": torch.tensor(2)},
    "a bool": {"kernel_size": True},
    "rounded by a number": {"kernel_size": 2, "ceil_mode": 1},
    "16 x 16": {"kernel_size": 16, "stride": 4, "padding": 8},
    "17 x 17": {"kernel_size": 17, "stride": 4, "padding": 8},
    "dilated": {"kernel_size": 2, "dilation": 2},
    "too much padding": {"kernel_size": 2, "padding": 2},
    "negative padding": {"kernel_size": 2, "padding": -1},
    "no stride": {"kernel_size": 2, "stride": 0},
    "no kernel": {"kernel_size": 0, "stride": 1},
}


@pytest.mark.parametrize("which", get_args(Use))
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("images", IMAGES)
def test_bit_for_bit(images: str, setting: str, which: Use) -> None:
    found = []
    for kind in PAIRS[2]:
        torch.manual_seed(0)
        with use(which):
            found.append(results(kind(**SETTINGS[setting]), IMAGES[images](), False))
    ours, theirs = found
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other, strides=mine is not ours[-1])  # strides of gradients are free


@pytest.mark.parametrize("which", get_args(Use))
def test_a_stride_that_is_removed(which: Use) -> None:
    found = []
    for kind in PAIRS[2]:
        pool = kind(2)
        pool.stride = None
        with use(which):
            found.append(pool(numbers(4, 5, 29, 31)))
    same(*found)


def test_memory_that_was_freed_is_not_read() -> None:
    x = numbers(4, 5, 29, 31)
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        MaxPool2d(2)(x)


@needs_kernels
@pytest.mark.parametrize("shape", [(1, 1, 300, 301), (2, 301, 302), (1, 1, 20000)])
def test_a_few_large_images(shape: tuple[int, ...]) -> None:
    """Each is divided among the threads."""
    axes = 1 if shape[-1] == 20000 else 2
    x, before = numbers(*shape), torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            for setting in ("2", "3, 2, 1", "overlapping", "gaps between"):
                same(*(kind(**SETTINGS[setting])(x) for kind in PAIRS[axes]))
    finally:
        torch.set_num_threads(before)


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    axes=st.sampled_from([1, 2]),
    batched=st.booleans(),
    ceil_mode=st.booleans(),
    rounded=st.booleans(),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
)
def test_any_windows(
    data: st.DataObject,
    axes: int,
    batched: bool,
    ceil_mode: bool,
    rounded: bool,
    seed: int,
    threads: int,
) -> None:
    def each(most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(1, most)) for _ in range(axes))

    kernel, stride, sizes = each(6), each(4), each(40)
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    assume(all(s + 2 * p >= k for s, p, k in zip(sizes, padding, kernel, strict=True)))
    channels = -(-17000 // torch.Size(sizes).numel())
    x = numbers(*(2,) * batched, channels, *sizes, seed=seed)
    if rounded:
        x = x.round()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = []
    try:
        for kind in PAIRS[axes]:
            # One axis has plain numbers as settings.
            window = [n if axes == 2 else n[0] for n in (kernel, stride, padding)]
            pool: nn.Module = kind(*window, ceil_mode=ceil_mode)  # type: ignore[arg-type]
            leaf = x.clone().requires_grad_()
            y = pool(leaf)
            dy = numbers(*y.shape, seed=seed + 1)
            with torch.no_grad():
                found.append((y, pool(leaf), *torch.autograd.grad(y, leaf, dy)))
    finally:
        torch.set_num_threads(before)
    for mine, other in zip(*found, strict=True):
        same(mine, other)


def test_indices_are_those_of_torch() -> None:
    x = numbers(4, 5, 29, 31)
    for mine, other in zip(*(kind(2, return_indices=True)(x) for kind in PAIRS[2]), strict=True):
        same(mine, other)


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "expanded": lambda y: torch.tensor(2.0).expand_as(y),
    "channels last": lambda y: torch.randn_like(y).contiguous(memory_format=torch.channels_last),
    "gaps": lambda y: torch.randn(*y.shape, 2)[..., 0],
    "not numbers": lambda y: torch.full_like(y, float("nan")),
    "negated": lambda y: torch.complex(torch.randn_like(y), torch.randn_like(y)).conj().imag,
}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_any_gradient(gradient: str) -> None:
    found = []
    for kind in PAIRS[2]:
        torch.manual_seed(0)
        x = numbers(4, 5, 30, 32)
        found.append(results(kind(2), x, False, GRADIENTS[gradient](x[..., ::2, ::2])))
    for mine, other in zip(*found, strict=True):
        same(mine, other, strides=False)


@pytest.mark.parametrize("axes", PAIRS)
@pytest.mark.parametrize("setting", ["2", "3, 2, 1", "overlapping"])
def test_second_derivatives(setting: str, axes: int) -> None:
    x = torch.randn(*SHAPES[axes], generator=torch.Generator().manual_seed(0))
    found = (second_derivatives(kind(**SETTINGS[setting]), x) for kind in PAIRS[axes])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", PAIRS)
@pytest.mark.parametrize("setting", ["2", "3, 2, 1"])
def test_several_gradients_at_once(setting: str, axes: int) -> None:
    x = numbers(*SHAPES[axes])
    ours, theirs = (many_gradients(kind(**SETTINGS[setting]), x) for kind in PAIRS[axes])
    torch.testing.assert_close(ours, theirs)


def test_backward_twice_and_through_checkpoints() -> None:
    x = numbers(4, 5, 29, 31).requires_grad_()
    y = MaxPool2d(2)(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    same(torch.autograd.grad(y.sum(), x)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
    for reentrant in (False, True):
        y = checkpoint(MaxPool2d(2), x, use_reentrant=reentrant)
        x.grad = None
        y.sum().backward()
        assert x.grad is not None
        same(x.grad, first)


@needs_kernels
def test_input_and_output_may_be_changed_in_place() -> None:
    x = numbers(4, 5, 29, 31).requires_grad_()
    given = x * 1.0
    y = MaxPool2d(2)(given)
    expected = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    y.add_(1.0)
    given.zero_()
    same(torch.autograd.grad(y.sum(), x)[0], expected)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of functionalize and export
@pytest.mark.parametrize("axes", PAIRS)
@pytest.mark.parametrize("setting", ["2", "3, 2, 1"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_as_that_of_torch(transform: str, setting: str, axes: int) -> None:
    x = torch.randn(*SHAPES[axes], generator=torch.Generator().manual_seed(0))
    same(*(transformed(transform, kind(**SETTINGS[setting]), x) for kind in PAIRS[axes]))


@pytest.mark.parametrize("axes", PAIRS)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_without_a_break(backend: str, axes: int) -> None:
    x = numbers(*SHAPES[axes])
    for mine, other in zip(*(compiled(kind(2), x, backend) for kind in PAIRS[axes]), strict=True):
        same(mine, other)


def test_looks_like_that_of_torch() -> None:
    for axes, (ours, theirs) in PAIRS.items():
        assert repr(ours(3, 2, 1)) == repr(theirs(3, 2, 1)), axes


# What is kept.


@needs_kernels
def test_one_byte_of_each_result() -> None:
    x = numbers(4, 5, 30, 32).requires_grad_() * 1.0
    assert saved_bytes(MaxPool2d(2), x) == 4 * 5 * 15 * 16
    assert saved_bytes(nn.MaxPool2d(2), x) == 4 * x.numel() + 8 * 4 * 5 * 15 * 16
    with torch.device("cpu"):  # as torch.set_default_device sets it
        assert saved_bytes(MaxPool2d(2), x) == 4 * 5 * 15 * 16
    x = numbers(4, 5, 1000).requires_grad_() * 1.0
    assert saved_bytes(MaxPool1d(4), x) == 4 * 5 * 250
    assert saved_bytes(nn.MaxPool1d(4), x) == 4 * x.numel() + 8 * 4 * 5 * 250


def test_nothing_is_kept_without_gradients() -> None:
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: t):
        MaxPool2d(2)(numbers(4, 5, 30, 32))
        with torch.no_grad():
            MaxPool2d(2)(numbers(4, 5, 30, 32).requires_grad_())
    assert not kept


def test_a_converted_net_computes_the_same() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
    layers += [nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(2)]
    model = nn.Sequential(*layers, nn.MaxPool1d(3))
    x, found = torch.rand(128, 3, 16, 16), []
    ours = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x]).train()
    theirs = copy.deepcopy(ours)
    for module in theirs.modules():
        for mine, other in PAIRS.values():
            if type(module) is mine:
                module.__class__ = other
    assert sum(isinstance(m, MaxPool2d | MaxPool1d) for m in ours.modules()) == 3
    assert not any(isinstance(m, MaxPool2d | MaxPool1d) for m in theirs.modules())
    for twin in (ours, theirs):
        y = twin(x)
        y.square().sum().backward()
        found.append([y, *(p.grad for p in twin.parameters())])
    for mine, other in zip(*found, strict=True):
        same(mine, other)
