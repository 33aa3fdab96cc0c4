"""What is no model, and tensors that are no ordinary dense ones: one sentence, never a crash."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, denoise, profiles, recalibrate, reestimate, set_profile
from tests.building import POLYNOMIAL, device
from tests.nn.layer_kinds import LAYERS

STATIC = device(programming=[POLYNOMIAL], dac=8, adc=8)


class Wrapped(Tensor):
    """Wraps another tensor and holds no memory, as quantized and sharded weights do."""

    inside: Tensor

    @staticmethod
    def __new__(cls, inside: Tensor) -> Wrapped:
        return Tensor._make_wrapper_subclass(  # type: ignore[no-any-return, attr-defined]
            cls, inside.shape, dtype=inside.dtype, requires_grad=inside.requires_grad
        )

    def __init__(self, inside: Tensor) -> None:
        self.inside = inside

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, arguments: Any = (), settings: Any = None
    ) -> Any:
        given = [a.inside if isinstance(a, Wrapped) else a for a in arguments]
        result = operation(*given, **(settings or {}))
        return Wrapped(result) if isinstance(result, Tensor) else result


def layer() -> Any:
    torch.manual_seed(0)
    return cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [torch.randn(9, 8)])


INPUTS: dict[str, Callable[[Tensor], Any]] = {
    "dense tensors, but got a nested": lambda x: torch.nested.nested_tensor([x, x[:2]]),
    "dense tensors, but got a nested tensor": lambda x: torch.nested.nested_tensor(
        [x, x[:2]], layout=torch.jagged
    ),
    "layout torch.sparse_coo": lambda x: x.to_sparse(),
    "layout torch.sparse_csr": lambda x: x.to_sparse_csr(),
    "Wrapped, which wraps other tensors": Wrapped,
    "on cpu and its input on meta": lambda x: x.to("meta"),
    "expects a tensor, but got a list": lambda x: x.tolist(),
    "expects a tensor, but got a ndarray": lambda x: x.numpy(),
}


@pytest.mark.filterwarnings("ignore:(Sparse|The PyTorch API of nested)")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("message", INPUTS)
def test_an_input_that_is_no_ordinary_tensor(message: str, training: bool) -> None:
    with pytest.raises(CimsimError, match=message):
        layer().train(training)(INPUTS[message](torch.randn(5, 8)))


@pytest.mark.parametrize("training", [True, False])
def test_a_weight_that_wraps_another_is_refused(training: bool) -> None:
    plain = nn.Linear(8, 4)
    plain.weight = nn.Parameter(Wrapped(torch.randn(4, 8)))
    with pytest.raises(CimsimError, match=r"its weight is a (Wrapped|Parameter).* before weights"):
        cimsim.convert(plain, STATIC, inplace=True)
    analog = layer().train(training)
    analog.weight = plain.weight
    with pytest.raises(CimsimError, match="layer '': its weight is a"):
        analog(torch.randn(5, 8))


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_sparse_weight_is_refused() -> None:
    plain = nn.Linear(8, 4)
    plain.weight = nn.Parameter(torch.eye(4, 8).to_sparse())
    with pytest.raises(CimsimError, match=r"its weight is of torch\.sparse_coo"):
        cimsim.convert(plain, STATIC, inplace=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_no_kernel_runs_on_fake_tensors(kind: str, training: bool) -> None:
    make, shape = LAYERS[kind]
    x = torch.randn(shape)
    model = cimsim.convert(make(), STATIC)
    if x.numel():
        cimsim.calibrate(model, [x])
    model.train(training)
    with (
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
        pytest.raises(CimsimError, match="cannot be part of FakeTensorMode"),
    ):
        model(mode.from_tensor(x))
    assert model(x).isfinite().all()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_model_on_the_meta_device_has_torchs_shapes(kind: str, training: bool) -> None:
    make, shape = LAYERS[kind]
    plain = make().to("meta").train(training)
    x = torch.empty(shape, device="meta", requires_grad=True)
    wanted = plain(x)
    found = cimsim.convert(plain, STATIC)(x)
    assert (found.shape, found.dtype, found.is_meta) == (wanted.shape, wanted.dtype, True)
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


def test_quantizers_and_denoisers_on_the_meta_device() -> None:
    settings: dict[str, Any] = {"quantize_weights": "lsq:bits=4", "quantize_inputs": "lsq:bits=4"}
    model = cimsim.convert(nn.Linear(8, 4), STATIC, denoise=0.1, **settings).to("meta")
    assert model(torch.empty(5, 8, device="meta")).shape == (5, 4)


VERBS: list[Callable[[Any], Any]] = [
    cimsim.program,
    lambda model: cimsim.age(model, "1h"),
    lambda model: cimsim.calibrate(model, [torch.zeros(1)]),
    lambda model: recalibrate(model, [torch.zeros(1)]),
    lambda model: set_profile(model, STATIC),
    cimsim.to_digital,
    cimsim.summary,
    analog_layers,
    profiles,
]


@pytest.mark.parametrize("model", [None, "model.pt", [nn.Linear(2, 2)], nn.Linear], ids=repr)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_model(verb: Callable[[Any], Any], model: Any) -> None:
    with pytest.raises(CimsimError, match=r"a model must be a torch\.nn\.Module, not a "):
        verb(model)


@pytest.mark.parametrize("verb", [denoise, reestimate])
def test_what_is_no_model_to_measure(verb: Callable[..., Any]) -> None:
    with pytest.raises(CimsimError, match=r"a model must be a torch\.nn\.Module, not a dict"):
        verb({}, [torch.zeros(1)])


def test_an_age_in_the_words_of_datetime() -> None:
    assert cimsim.age(layer(), datetime.timedelta(days=1)).age_s == 86400.0


@pytest.mark.parametrize(
    "layer", [nn.Linear(1, 4), nn.Conv1d(1, 4, 1), nn.ConvTranspose2d(1, 1, 1)]
)
@pytest.mark.parametrize("training", [True, False])
def test_the_imaginary_part_of_a_conjugate(layer: nn.Module, training: bool) -> None:
    """A contiguous view of other numbers than its own: torch keeps their sign as a flag."""
    shape = (1, 1, *getattr(layer, "kernel_size", ()))
    analog = cimsim.calibrate(cimsim.convert(layer, STATIC), [torch.randn(50, *shape[1:])])
    z = torch.complex(torch.rand(shape), torch.rand(shape))
    view = z.conj().imag
    assert view.is_neg()
    assert view.is_contiguous()
    outputs = []
    for x in (view, view.clone()):
        for part in analog_layers(cimsim.program(analog.train(training), 1)).values():
            part.draws = 0
        y = analog(x)
        slope = torch.complex(y.detach(), y.detach()).conj().imag if y.numel() == 1 else y.detach()
        analog.zero_grad()
        y.backward(slope)
        outputs.append((y, analog.weight.grad.clone()))
    for result, expected in zip(*outputs, strict=True):
        assert result.signbit().equal(expected.signbit())
        torch.testing.assert_close(result, expected)
