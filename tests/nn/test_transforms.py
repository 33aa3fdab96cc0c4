"""What torch does to whole programs: it works, or one sentence says what to do instead."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, func, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import cimsim
from cimsim.errors import CimsimError
from cimsim.kernels import Use, use
from cimsim.nn import digital
from cimsim.torch_private import transforming
from tests.building import POLYNOMIAL, device
from tests.nn.examples import MODULES, Model, input_of

STATIC = device(programming=[POLYNOMIAL], adc=8, dac=8)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch.jit and its ONNX
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]


def converted(kind: str = "Linear") -> tuple[nn.Module, Tensor]:
    x = input_of(MODULES[kind])
    model = cimsim.calibrate(cimsim.convert(Model(MODULES[kind]), STATIC), [x])
    return model.eval(), x


def dual(model: nn.Module, x: Tensor) -> None:
    with forward_ad.dual_level(), torch.no_grad():
        model(forward_ad.make_dual(x, x))


def of_parameters(model: nn.Module, x: Tensor) -> None:
    func.grad(lambda p: func.functional_call(model, p, x).sum())(dict(model.named_parameters()))


Transform = Callable[[nn.Module, Tensor], object]
REFUSED: dict[str, Transform] = {
    "func.grad": of_parameters,
    "func.vmap": lambda m, x: func.vmap(m)(x[None]),
    "func.jacrev": lambda m, x: func.jacrev(m)(x),
    "func.jacfwd": lambda m, x: func.jacfwd(m)(x),
    "func.hessian": lambda m, x: func.hessian(lambda x: m(x).sum())(x),
    "func.jvp": lambda m, x: func.jvp(m, (x,), (x,)),
    "func.vjp": lambda m, x: func.vjp(m, x),
    "func.linearize": lambda m, x: func.linearize(m, x),
    "forward-mode differentiation": dual,
    "jit.trace": lambda m, x: torch.jit.trace(m, x, check_trace=False),
    "jit.script": lambda m, x: torch.jit.script(m),
    "onnx.export": lambda m, x: torch.onnx.export(m, (x,), io.BytesIO(), dynamo=False),
    "export": lambda m, x: torch.export.export(m, (x,)),
    "make_fx": lambda m, x: make_fx(m)(x),
}


EACH = [("Linear", transform) for transform in REFUSED] + [
    (kind, transform)
    for kind in MODULES
    for transform in ("func.grad", "jit.trace", "jit.script", "make_fx")
    if kind != "Linear"
]


@pytest.mark.parametrize(("kind", "transform"), EACH)
def test_refused_in_one_sentence(kind: str, transform: str) -> None:
    model, x = converted(kind)
    with pytest.raises(CimsimError, match=r"cannot be part of .*; (use|export) [^;]*$"):
        REFUSED[transform](model, x)
    assert model(x).isfinite().all()  # and nothing is left behind


def test_refused_without_gradients_too() -> None:
    model, x = converted()
    for transform in ("jit.trace", "func.vmap", "make_fx"):
        with torch.no_grad(), pytest.raises(CimsimError, match="cannot be part of"):
            REFUSED[transform](model, x)


def test_an_export_by_dynamo_says_why() -> None:
    """Dynamo makes an error of its own of it, which holds the sentence."""
    model, x = converted()
    with pytest.raises(Exception, match=r"cannot be part of torch\.export"):
        torch.export.export(model, (x,), strict=True)


@pytest.mark.parametrize("transform", REFUSED)
def test_the_digital_model_can_do_it(transform: str) -> None:
    """The way out that the sentence names."""
    model, x = converted()
    if transform in ("jit.script", "onnx.export", "export", "jit.trace"):
        plain = cimsim.to_digital(model.layer)
        with suppress(ModuleNotFoundError, torch.onnx.OnnxExporterError):  # onnx may be missing
            REFUSED[transform](plain, x)
    else:
        with digital(model):
            REFUSED[transform](model, x)


def test_whether_a_transform_runs_is_asked_in_one_place() -> None:
    """By a private name of torch."""
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(transforming())
        return x.sum()

    assert not transforming()
    func.grad(look)(torch.ones(2))
    func.vmap(look)(torch.ones(2))
    assert seen == [True, True]
    assert not transforming()


@pytest.mark.parametrize("kind", MODULES)
def test_symbolic_tracing_takes_a_layer_for_one_node(kind: str) -> None:
    model, x = converted(kind)
    outer = nn.Sequential(model, nn.ReLU())
    traced = torch.fx.symbolic_trace(outer)
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert called == ["0.layer", "1"]
    cimsim.program(outer, 3)
    expected = outer(x)
    cimsim.program(outer, 3)
    assert torch.equal(traced(x), expected)
    with pytest.raises(CimsimError, match="trace a model that contains it"):
        torch.fx.symbolic_trace(model.layer)


@pytest.mark.parametrize("kind", MODULES)
def test_functional_call_works(kind: str) -> None:
    model, x = converted(kind)
    doubled = {name: 2 * p.detach() for name, p in model.named_parameters()}
    y = func.functional_call(model, doubled, (x,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.equal(y, model(x))


@pytest.mark.parametrize("kind", ["LSTMCell", "MultiheadAttention"])
def test_torch_compile_works(kind: str) -> None:
    """Of the other kinds see test_compile.py; recurrences are none that dynamo takes."""
    model, x = converted(kind)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


def hvp(model: nn.Module, x: Tensor) -> None:
    torch.autograd.functional.hvp(lambda x: model(x).sum(), x, x)


def penalty(model: nn.Module, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    (gradient.norm() - 1).square().backward()


def curvature(model: nn.Module, x: Tensor) -> None:
    """Of the weights: of a loss that is linear in the output, too."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    gradients = torch.autograd.grad(model(x).sum(), weights, create_graph=True)
    total = torch.stack([g.sum() for g in gradients]).sum()
    torch.autograd.grad(total, weights, allow_unused=True)


def matching(model: nn.Module, x: Tensor) -> None:
    """The gradient of a weight, differentiated by the input."""
    x = x.clone().requires_grad_()
    weights = [p for p in model.parameters() if p.dim() > 1]
    gradients = torch.autograd.grad(model(x).sum(), weights, create_graph=True)
    torch.autograd.grad(sum(g.sum() for g in gradients), x, allow_unused=True)


SECOND: dict[str, Transform] = {
    "hessian": lambda m, x: torch.autograd.functional.hessian(lambda x: m(x).sum(), x),
    "hessian of squares": lambda m, x: torch.autograd.functional.hessian(
        lambda x: m(x).square().sum(), x
    ),
    "hvp": hvp,
    "gradient penalty": penalty,
    "curvature": curvature,
    "gradient matching": matching,
}


@pytest.mark.parametrize(("rule", "training"), [*((r, True) for r in "ABCEF"), ("F", False)])
@pytest.mark.parametrize("second", SECOND)
def test_a_second_derivative_is_never_silently_zero(second: str, rule: str, training: bool) -> None:
    x = input_of(nn.Linear)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    analog = cimsim.calibrate(cimsim.convert(model, STATIC, rule=rule), [x]).train(training)
    with pytest.raises(CimsimError, match="no second derivative"):
        SECOND[second](analog, x)
    with digital(analog):
        SECOND[second](analog, x)


@pytest.mark.parametrize("kind", MODULES)
def test_no_kind_has_one(kind: str) -> None:
    model, x = converted(kind)
    with pytest.raises(CimsimError, match="no second derivative"):
        curvature(model, x)


@pytest.mark.parametrize("kernels", get_args(Use))
def test_nor_do_the_back_ends(kernels: Use) -> None:
    model, x = converted()
    with use(kernels), pytest.raises(CimsimError, match="no second derivative"):
        curvature(model, x)


def test_nor_does_a_compiled_layer() -> None:
    model, x = converted()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with pytest.raises(CimsimError, match="no second derivative"):
        curvature(compiled, x)


def test_create_graph_without_a_second_derivative() -> None:
    """As training with retained graphs does it: the gradients are the same."""
    model, x = converted()
    found: list[Any] = []
    for create_graph in (False, True):
        cimsim.program(model, 0)
        loss = model(x).square().sum()
        found.append(torch.autograd.grad(loss, model.parameters(), create_graph=create_graph))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_batched_gradients_are_refused() -> None:
    model, x = converted()
    x = x.clone().requires_grad_()
    y = model(x)
    with pytest.raises(CimsimError, match="leave out is_grads_batched"):
        torch.autograd.grad(y, x, torch.ones(2, *y.shape, dtype=y.dtype), is_grads_batched=True)
    with pytest.raises(CimsimError, match="leave out is_grads_batched"):
        torch.autograd.functional.jacobian(model, x, vectorize=True)
