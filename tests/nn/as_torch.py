"""Comparison of a module with the one of torch whose place it takes: bits, errors, transforms."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, func, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

SPECIAL = (0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45, -1e-45, 3e38, -3e38)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, and after every fifth one of the special ones."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    flat = x.view(-1)
    flat[::5] = torch.tensor(SPECIAL).repeat(len(flat[::5]) // len(SPECIAL) + 1)[: len(flat[::5])]
    return x


class Wrapped(Tensor):
    """A subclass of tensors without functions of its own."""


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


def results(
    module: nn.Module, x: Tensor, leaf: bool, dy: Tensor | None = None, at_nan: bool = True
) -> list[Any]:
    """Output, input afterwards, and gradient, by outputs that are NaN only with ``at_nan``; the
    message if one of them is an error."""
    try:
        x = x.detach() if not isinstance(x, nn.Parameter) else x
        if x.dtype.is_floating_point or x.dtype.is_complex:
            x.requires_grad_()
        given = x if leaf else x.view_as(x) if x.layout is torch.strided else x * 1
        y = module(given)
        found: list[Any] = [y, given]
        if y.requires_grad and not y.is_meta:
            gradient = torch.randn_like(y) if dy is None else dy
            if not at_nan:
                gradient = torch.where(y.isnan(), 0.0, gradient)
            found += torch.autograd.grad(y, x, gradient)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as e:
        return [error(e)]
    return found


def transformed(transform: str, module: nn.Module, x: Tensor) -> Tensor | str:
    """The result of a transform of the module. Some transforms refuse what changes its input, and
    ``torch.fx`` a module without submodules; then the message."""
    may_fail = transform == "fx of itself" or getattr(module, "inplace", False)
    try:
        return TRANSFORMS[transform](module, x).detach().contiguous()
    except RuntimeError as e:
        if not may_fail:
            raise
        return error(e)


def compiled(module: nn.Module, x: Tensor, backend: str) -> list[Tensor]:
    """Output and gradient of the module, compiled without a break."""
    torch.compiler.reset()
    x = x.clone().requires_grad_()
    y = torch.compile(nn.Sequential(module), fullgraph=True, backend=backend)(x)
    return [y, *torch.autograd.grad(y, x, torch.ones_like(y))]


def many_gradients(module: nn.Module, x: Tensor) -> Tensor:
    """The gradients of three gradients of the output, at once."""
    x = x.clone().requires_grad_()
    y = module(x)
    many = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(y, x, many, is_grads_batched=True)[0]


def second_derivatives(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Of a norm of a product with the output, by input and weight; and of the sum, which are 0."""
    x = x.clone().requires_grad_()
    y = module(x)
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(y.shape[-1], 7, generator=generator).requires_grad_()
    (dx,) = torch.autograd.grad((y @ w).square().sum(), x, create_graph=True)
    twice = torch.autograd.grad(dx.square().mean(), (x, w))
    assert all(g.abs().max() > 0 for g in twice)
    (dx,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    (zeros,) = torch.autograd.grad(dx.sum(), x)
    assert not zeros.any()
    return [*twice, dx, zeros]


def forward_mode(module: nn.Module, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        y = module(forward_ad.make_dual(x.clone().requires_grad_(), torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(y).tangent
        assert tangent is not None
        return tangent


def traced(module: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    graph = torch.jit.trace(module, x, check_trace=False)
    assert all(node.kind().startswith(("aten::", "prim::")) for node in graph.inlined_graph.nodes())
    assert "^" not in str(graph.inlined_graph)  # a function of Python
    result: Tensor = graph(x)
    return result


def symbolic(module: nn.Module, x: Tensor) -> Tensor:
    graph = torch.fx.symbolic_trace(nn.Sequential(module))
    result: Tensor = graph(x.clone().requires_grad_())
    return result


def exported(module: nn.Module, x: Tensor) -> Tensor:
    program = torch.export.export(nn.Sequential(module), (x.clone().requires_grad_(),))
    calls = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert calls
    assert all(call.startswith("aten.") or "getitem" in call for call in calls)
    result: Tensor = program.module()(x)
    return result


def of_onnx(module: nn.Module, x: Tensor) -> Tensor:
    pytest.importorskip("onnx")
    file = io.BytesIO()
    torch.onnx.export(module, (x.clone().requires_grad_(),), file, dynamo=False)
    found = [name in file.getvalue() for name in (b"Relu", b"Clip", b"MaxPool")]
    assert any(found)
    return torch.tensor(found)


def fake(module: nn.Module, x: Tensor) -> Tensor:
    with FakeTensorMode(allow_non_fake_inputs=True):
        y = module(x.clone().requires_grad_())
    return torch.tensor(y.shape)


def within(mode: AbstractContextManager[object]) -> Callable[[nn.Module, Tensor], Tensor]:
    """In a mode, which sees the operations of torch; backward runs outside of it."""

    def run(module: nn.Module, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        with mode:
            y = checkpoint(lambda x: module(x.clone()), x, use_reentrant=False)
        return torch.autograd.grad(y, x, torch.ones_like(y))[0]

    return run


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "func.vmap": lambda m, x: func.vmap(m)(x.clone().requires_grad_()),
    "func.grad": lambda m, x: func.grad(lambda x: m(x).sum())(x),
    "func.jvp": lambda m, x: func.jvp(m, (x,), (torch.ones_like(x),))[1],
    "func.vjp": lambda m, x: func.vjp(m, x)[1](torch.ones_like(m(x)))[0],
    "func.grad of func.grad": lambda m, x: func.grad(
        lambda x: func.grad(lambda x: m(x).square().sum())(x).sum()
    )(x),
    "func.vmap of func.grad": lambda m, x: func.vmap(func.grad(lambda x: m(x).sum()))(x),
    "func.functionalize": lambda m, x: func.functionalize(m)(x.clone().requires_grad_()),
    "functional.jacobian": lambda m, x: torch.autograd.functional.jacobian(
        lambda part: m(torch.cat([part, x.flatten()[2:]]).view_as(x)).sum(), x.flatten()[:2].clone()
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
