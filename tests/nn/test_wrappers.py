"""Converted models within everything that people put around models: every kind, every wrapper."""

from __future__ import annotations

import copy
import io
import logging
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.checkpoint import checkpoint

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLinear, analog_layers
from tests.building import POLYNOMIAL, device
from tests.nn.examples import MODULES, Model, input_of

IDEAL = device()
STATIC = device(programming=[POLYNOMIAL])


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(self.inner, x, use_reentrant=False)
        return y


class Adapter(nn.Module):
    """As PEFT wraps a layer: its own output, and that of two small ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.base_layer = inner
        self.down, self.up = nn.Linear(6, 2).double(), nn.Linear(2, 6).double()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = x.movedim(1, -1)
        y: Tensor = self.base_layer(x + self.up(self.down(features)).movedim(-1, 1))
        return y


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def averaged(model: nn.Module) -> nn.Module:
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    average.update_parameters(model)
    average.update_parameters(model)
    return average.train(model.training)


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "deepcopy of a deepcopy": lambda model: copy.deepcopy(copy.deepcopy(model)),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved,
    "torch.save of a copy": lambda model: saved(copy.deepcopy(model)),
    "share_memory": lambda model: model.share_memory(),
    "AveragedModel": averaged,
    "DataParallel": nn.DataParallel,
    "checkpoint": Checkpointed,
    "frozen": lambda model: model.requires_grad_(False),
    "to and fro": lambda model: model.to(torch.float32).double(),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", MODULES)
def test_a_wrapped_model_does_what_it_did(kind: str, wrapper: str) -> None:
    """In evaluation on the same chip, and in training with gradients."""
    x = input_of(MODULES[kind])
    with torch.no_grad():
        plain = Model(MODULES[kind]).float().double()  # numbers that float32 holds
    model = cimsim.convert(plain, STATIC).eval()
    expected = model(x)
    wrapped = WRAPPERS[wrapper](model)
    assert torch.equal(wrapped.eval()(x), expected)
    x = x.clone().requires_grad_()
    wrapped.train()(x).sum().backward()
    assert x.grad is not None
    for parameter in wrapped.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad


@pytest.mark.parametrize("kind", MODULES)
def test_adapters_and_what_is_wrapped_are_converted(kind: str) -> None:
    x = input_of(MODULES[kind])
    if x.dim() == 3 and kind in ("MultiheadAttention", "RNN", "GRU", "LSTM"):
        pytest.skip("features lie elsewhere")
    plain = Adapter(Model(MODULES[kind]))
    analog = cimsim.convert(plain, IDEAL)
    names = analog_layers(analog)
    assert {"down", "up"} < set(names)
    assert any(name.startswith("base_layer.layer") for name in names)
    torch.testing.assert_close(analog(x), plain(x))


def test_averages_of_batch_normalization() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 6)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x])
    average = AveragedModel(analog)
    average.update_parameters(analog)
    update_bn([x], average)
    assert cimsim.program(average, 3).eval()(x).isfinite().all()


@pytest.mark.parametrize("first", ["to_empty", "assign"])
def test_tied_modules_on_the_meta_device(first: str) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    plain.append(plain[0])
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        empty.append(empty[0])
    analog = cimsim.convert(empty, IDEAL)
    assert list(analog_layers(analog)) == ["0"]
    if first == "to_empty":
        analog.to_empty(device="cpu")
    analog.load_state_dict(plain.state_dict(), assign=first == "assign")
    x = torch.randn(3, 6)
    torch.testing.assert_close(analog(x), plain(x))


# What convert cannot make analog, and says so.


class Functional(nn.Module):
    """Multiplies by a matrix of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(8, 8))
        self.position = nn.Parameter(torch.zeros(1, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x + self.position, self.matrix)


class InAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = [nn.Linear(8, 8)]
        self.known = nn.Linear(8, 8)
        self.again = [self.known]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.known(self.plain[0](x))
        return y


class Mine(nn.Conv2d):
    pass


LEFT_OUT: dict[str, tuple[nn.Module, str]] = {
    "bilinear": (nn.Bilinear(3, 3, 4), "layer 'it' (Bilinear) stays digital"),
    "functional": (Functional(), "layer 'it' (Functional) stays digital: its forward may multiply"),
    "parameter list": (nn.ParameterList([torch.randn(8, 8)]), "(ParameterList) stays digital"),
    "plain list": (InAList(), "the layers in 'it.plain' stay digital, because torch does not"),
    "subclass": (Mine(1, 1, 3), "layer 'it' (Mine) stays digital: its class may compute"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_stays_digital_is_said(case: str, caplog: pytest.LogCaptureFixture) -> None:
    module, message = LEFT_OUT[case]
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.convert(nn.ModuleDict({"it": module, "out": nn.Linear(8, 2)}), IDEAL)
    assert len(caplog.messages) == 1
    assert message in caplog.text


def test_nothing_is_said_of_what_is_no_product(caplog: pytest.LogCaptureFixture) -> None:
    harmless = [nn.Embedding(5, 4), nn.LayerNorm([4, 4]), nn.PReLU(4), nn.BatchNorm1d(4)]
    norm = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.convert(nn.Sequential(*harmless, norm, nn.GRUCell(4, 4)), IDEAL)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.LazyLinear(4), r"layer '' \(LazyLinear\) has no weights before .*model\(x\)"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.LazyBatchNorm1d()), "LazyBatchNorm1d"),
        (lambda: torch.jit.script(nn.Linear(4, 4)), "the model is compiled by torch.jit"),
        (lambda: [nn.Linear(4, 4)], "only a torch.nn.Module can be converted, not a list"),
        (lambda: cimsim.convert(nn.Linear(4, 4), IDEAL), "1 are analog already"),
        (lambda: nn.Bilinear(2, 2, 2), r"0 that can become analog.*'' \(Bilinear\) stays digital"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_what_cannot_be_converted_says_why(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(model(), IDEAL)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_layers_without_weights_stay_digital(
    shape: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    plain = nn.ModuleDict({"empty": nn.Linear(*shape), "out": nn.Linear(3, 2)})
    analog = cimsim.convert(plain, IDEAL)
    assert list(analog_layers(analog)) == ["out"]
    assert "layer 'empty' (Linear) stays digital: it has no weights" in caplog.text
    x = torch.zeros(5, shape[0])
    torch.testing.assert_close(analog["empty"](x), plain["empty"](x))


# The fast paths of torch's transformers.


def encoder(**settings: bool) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **settings)
    return nn.TransformerEncoder(layer.double(), 2, enable_nested_tensor=not settings)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own fast path
@pytest.mark.parametrize("only", [None, lambda name, _: name.endswith("1.linear1")])
@pytest.mark.parametrize("settings", [{}, {"norm_first": True}], ids=str)
def test_no_fast_path_goes_around_a_chip(
    only: Callable[[str, nn.Module], bool] | None, settings: dict[str, bool]
) -> None:
    plain = encoder(**settings).eval()
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 2:] = True
    with torch.no_grad():
        ideal = cimsim.convert(plain, IDEAL, only=only)
        noisy = cimsim.convert(plain, STATIC, only=only)
        for padding in (None, mask):
            expected, found = (
                model(x, src_key_padding_mask=padding)[~mask] for model in (plain, ideal)
            )
            torch.testing.assert_close(found, expected)
            loud = noisy(x, src_key_padding_mask=padding)[~mask]
            assert not torch.allclose(loud, expected, atol=1e-4)
    back = cimsim.to_digital(ideal)
    for was, now in zip(plain.modules(), back.modules(), strict=True):
        assert vars(was).keys() == vars(now).keys()
        for switch in ("activation_relu_or_gelu", "use_nested_tensor"):
            assert getattr(now, switch, None) == getattr(was, switch, None)


def test_what_stays_digital_keeps_its_fast_path() -> None:
    model = cimsim.convert(encoder(), IDEAL, only=lambda name, _: name.startswith("layers.0"))
    assert model.layers[0].activation_relu_or_gelu == 0
    assert model.layers[1].activation_relu_or_gelu == 1
    assert not model.use_nested_tensor


def test_a_whole_transformer_called_by_keyword() -> None:
    torch.manual_seed(0)
    plain = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True).double().eval()
    analog = cimsim.convert(plain, IDEAL)
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(analog(src=x, tgt=x), plain(src=x, tgt=x))
    assert isinstance(analog.encoder.layers[0].self_attn.q_proj, AnalogLinear)
