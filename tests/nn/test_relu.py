"""ReLU that keeps one bit of each value is torch's in everything but memory."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, func, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import cimsim
from cimsim.kernels import Use, cpu, use
from cimsim.nn.relu import ReLU
from tests.kept import saved_bytes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)

SPECIAL = (0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45, -1e-45, 3e38, -3e38)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, and after every fifth one of the special ones."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    flat = x.view(-1)
    flat[::5] = torch.tensor(SPECIAL).repeat(len(flat[::5]) // len(SPECIAL) + 1)[: len(flat[::5])]
    return x


class Wrapped(Tensor):
    """A subclass of tensors without functions of its own."""


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


def bits(x: Tensor) -> list[int] | Tensor:
    """The content of ``x``, in which NaN equals itself and -0 is not 0."""
    if x.is_meta or x.layout is not torch.strided:
        return x.to_dense() if x.is_sparse else x
    x = x.detach().as_subclass(Tensor).resolve_neg().clone(memory_format=torch.contiguous_format)
    return x.flatten().view(torch.uint8)


def same(ours: Any, theirs: Any, strides: bool = True) -> None:
    """Both are the same errors, or tensors of the same bits, strides, dtype and class."""
    assert type(ours) is type(theirs)
    if not isinstance(theirs, Tensor):
        assert ours == theirs
        return
    assert (ours.dtype, ours.shape, ours.layout) == (theirs.dtype, theirs.shape, theirs.layout)
    if strides and theirs.layout is torch.strided:
        assert ours.stride() == theirs.stride()
    if not theirs.is_meta:
        assert torch.equal(bits(ours), bits(theirs))  # type: ignore[arg-type]


def error(e: Exception) -> str:
    """Its type and the first line of what it says."""
    return f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"


def results(relu: nn.Module, x: Tensor, leaf: bool, dy: Tensor | None = None) -> list[Any]:
    """Output, input afterwards, and gradient; the message if one of them is an error."""
    try:
        x = x.detach() if not isinstance(x, nn.Parameter) else x
        if x.dtype.is_floating_point or x.dtype.is_complex:
            x.requires_grad_()
        given = x if leaf else x.view_as(x) if x.layout is torch.strided else x * 1
        y = relu(given)
        found: list[Any] = [y, given]
        if y.requires_grad and not y.is_meta:
            gradient = torch.randn_like(y) if dy is None else dy
            found += torch.autograd.grad(y, x, gradient)
    except (RuntimeError, NotImplementedError) as e:
        return [error(e)]
    return found


@pytest.mark.parametrize("which", get_args(Use))
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bit_for_bit(layout: str, leaf: bool, inplace: bool, which: Use) -> None:
    found = []
    for kind in (ReLU, nn.ReLU):
        torch.manual_seed(0)
        with use(which):
            found.append(results(kind(inplace), LAYOUTS[layout](), leaf))
    ours, theirs = found
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other, strides=mine is not ours[-1])  # strides of gradients are free


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 99),
    inplace=st.booleans(),
    threads=st.integers(1, 3),
)
def test_any_shape_and_order_of_axes(
    shape: list[int], order: Any, seed: int, inplace: bool, threads: int
) -> None:
    shape = [*shape, -(-17000 // torch.Size(shape).numel())]
    axes = order.sample(range(len(shape)), len(shape))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for kind in (ReLU, nn.ReLU):
            leaf = numbers(*shape, seed=seed).requires_grad_()
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
def test_any_gradient(gradient: str) -> None:
    found = []
    for kind in (ReLU, nn.ReLU):
        torch.manual_seed(0)
        x = numbers(129, 131)
        found.append(results(kind(), x, False, GRADIENTS[gradient](x)))
    for mine, other in zip(*found, strict=True):
        same(mine, other, strides=False)


def test_second_derivatives() -> None:
    weight = torch.randn(131, 131, generator=torch.Generator().manual_seed(1))
    found = []
    for kind in (ReLU, nn.ReLU):
        x = torch.randn(129, 131, generator=torch.Generator().manual_seed(0)).requires_grad_()
        w = weight.clone().requires_grad_()
        y = kind()(x) @ w
        (dx,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
        twice = torch.autograd.grad(dx.square().mean(), (x, w))
        assert all(g.abs().max() > 0 for g in twice)
        linear = kind()(x)
        (dx,) = torch.autograd.grad(linear.sum(), x, create_graph=True)
        found.append((*twice, dx, *torch.autograd.grad(dx.sum(), x)))  # zeros, no error
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[0][-1], torch.zeros(129, 131), rtol=0, atol=0)


def test_several_gradients_at_once() -> None:
    many = torch.randn(3, 129, 131, generator=torch.Generator().manual_seed(1))
    found = []
    for kind in (ReLU, nn.ReLU):
        x = numbers(129, 131).requires_grad_()
        y = kind()(x)
        found.append(torch.autograd.grad(y, x, many, is_grads_batched=True)[0])
    same(*found, strides=False)


def test_backward_twice_and_through_checkpoints() -> None:
    x = numbers(129, 131).requires_grad_()
    y = ReLU()(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    same(torch.autograd.grad(y.sum(), x)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
    for reentrant in (False, True):
        relu = ReLU()
        y = checkpoint(relu, x, use_reentrant=reentrant)
        x.grad = None
        y.sum().backward()
        assert x.grad is not None
        same(x.grad, first)


@needs_kernels
def test_an_output_may_be_changed_in_place() -> None:
    x = numbers(129, 131).requires_grad_()
    y = ReLU()(x)
    expected = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    y.add_(1.0)
    same(torch.autograd.grad(y.sum(), x)[0], expected)


def test_an_input_that_is_needed_must_not_be_changed_in_place() -> None:
    x = numbers(129, 131).requires_grad_()
    y = x.exp()
    ReLU(inplace=True)(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def forward_mode(relu: nn.Module, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        y = relu(forward_ad.make_dual(x.clone().requires_grad_(), torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(y).tangent
        assert tangent is not None
        return tangent


def traced(relu: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    graph = torch.jit.trace(relu, x, check_trace=False)
    assert "aten::relu" in str(graph.graph)
    result: Tensor = graph(x)
    return result


def symbolic(relu: nn.Module, x: Tensor) -> Tensor:
    graph = torch.fx.symbolic_trace(nn.Sequential(relu))
    result: Tensor = graph(x.clone().requires_grad_())
    return result


def exported(relu: nn.Module, x: Tensor) -> Tensor:
    program = torch.export.export(nn.Sequential(relu), (x.clone().requires_grad_(),))
    assert "aten.relu" in str(program.graph)
    result: Tensor = program.module()(x)
    return result


def of_onnx(relu: nn.Module, x: Tensor) -> Tensor:
    file = io.BytesIO()
    torch.onnx.export(relu, (x.clone().requires_grad_(),), file, dynamo=False)
    return torch.tensor(b"Relu" in file.getvalue())


def fake(relu: nn.Module, x: Tensor) -> Tensor:
    with FakeTensorMode(allow_non_fake_inputs=True):
        y = relu(x.clone().requires_grad_())
    return torch.tensor(y.shape)


def within(mode: AbstractContextManager[object]) -> Callable[[nn.Module, Tensor], Tensor]:
    """In a mode, which sees the operations of torch; backward runs outside of it."""

    def run(relu: nn.Module, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        with mode:
            y = checkpoint(lambda x: relu(x.clone()), x, use_reentrant=False)
        return torch.autograd.grad(y, x, torch.ones_like(y))[0]

    return run


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "func.vmap": lambda m, x: func.vmap(m)(x.clone().requires_grad_()),
    "func.grad": lambda m, x: func.grad(lambda x: m(x).sum())(x),
    "func.jvp": lambda m, x: func.jvp(m, (x,), (torch.ones_like(x),))[1],
    "func.vjp": lambda m, x: func.vjp(m, x)[1](torch.ones_like(x))[0],
    "func.grad of func.grad": lambda m, x: func.grad(
        lambda x: func.grad(lambda x: m(x).square().sum())(x).sum()
    )(x),
    "func.vmap of func.grad": lambda m, x: func.vmap(func.grad(lambda x: m(x).sum()))(x),
    "func.functionalize": lambda m, x: func.functionalize(m)(x.clone().requires_grad_()),
    "functional.jacobian": lambda m, x: torch.autograd.functional.jacobian(
        lambda part: m(torch.cat([part, x.flatten()[2:]])).sum(), x.flatten()[:2].clone()
    ),
    "functional.hvp": lambda m, x: torch.autograd.functional.hvp(
        lambda x: m(x).square().sum(), x, torch.ones_like(x)
    )[1],
    "forward mode": forward_mode,
    "jit.trace": traced,
    "jit.script": lambda m, x: torch.jit.script(m)(x),
    "onnx": of_onnx,
    "fx": symbolic,
    "fx of itself": lambda m, x: torch.fx.symbolic_trace(m)(x),
    "make_fx": lambda m, x: make_fx(m)(x.clone().requires_grad_())(x),
    "fake": fake,
    "export": exported,
    "dispatch mode": within(FlopCounterMode(display=False)),
    "function mode": within(torch.device("cpu")),
    "no_grad": torch.no_grad()(lambda m, x: m(x)),
    "inference_mode": torch.inference_mode()(lambda m, x: m(x).clone()),
    "autocast": torch.autocast("cpu", torch.bfloat16)(lambda m, x: m(x.clone().requires_grad_())),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of functionalize and export
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_as_that_of_torch(transform: str, inplace: bool) -> None:
    found: list[Any] = []
    for kind in (ReLU, nn.ReLU):
        x = numbers(129, 131).nan_to_num(0.0, 1.0, -1.0)
        try:
            y = TRANSFORMS[transform](kind(inplace), x)
            found.append(y.detach().contiguous())
        except RuntimeError as e:
            found.append(error(e))
    same(*found)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_without_a_break(backend: str) -> None:
    found = []
    for kind in (ReLU, nn.ReLU):
        torch.compiler.reset()
        x = numbers(129, 131).requires_grad_()
        y = torch.compile(nn.Sequential(kind()), fullgraph=True, backend=backend)(x)
        found.append((y, *torch.autograd.grad(y, x, torch.ones_like(y))))
    for mine, other in zip(*found, strict=True):
        same(mine, other)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch's own reading
def test_backward_in_a_compiled_graph() -> None:
    torch.compiler.reset()
    found = []
    for kind in (ReLU, nn.ReLU):
        x = numbers(129, 131).requires_grad_()
        y = kind()(x)
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            y.sum().backward()
        assert x.grad is not None
        found.append(x.grad)
    same(*found)


# What is kept.


@needs_kernels
@pytest.mark.parametrize("inplace", [False, True])
def test_one_bit_of_each_value(inplace: bool) -> None:
    x = numbers(129, 131).requires_grad_() * 1.0
    assert saved_bytes(ReLU(inplace), x) == (129 * 131 + 7) // 8
    assert saved_bytes(nn.ReLU(), x) == 4 * 129 * 131
    with torch.device("cpu"):  # as torch.set_default_device sets it
        assert saved_bytes(ReLU(inplace), x) == (129 * 131 + 7) // 8


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
