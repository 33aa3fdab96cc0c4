"""Batches as anybody's data loader gives them, and layers as anybody calls them."""

from __future__ import annotations

import logging
from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, TensorDataset
from transformers import BatchEncoding
from transformers.modeling_outputs import ModelOutput

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, denoise, measure_signals, recalibrate, reestimate
from cimsim.nn.scoring import evaluate_batches
from tests.nn.examples import LAYERS, input_of, layer_of

X, Y = torch.randn(16, 8), torch.randn(16, 8) + 1


class Two(nn.Module):
    """Takes one input or two, and labels that it does nothing with."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 4), nn.Linear(8, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor, y: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        z: Tensor = self.norm(self.a(input=x))
        return z if y is None else z + self.b(y)


class Logits(nn.Module):
    """Returns a dict, as models of Hugging Face do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(x)}


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


class InputAndLabel(NamedTuple):
    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class Data:
    x: Tensor
    y: Tensor


@dataclass
class Output(ModelOutput):
    x: Tensor | None = None
    y: Tensor | None = None


LABELS = torch.zeros(16)
BOTH: dict[str, Any] = {
    "dict": {"x": X, "y": Y},
    "dict with labels": {"x": X, "y": Y, "labels": LABELS},
    "dict with more": {"x": X, "y": Y, "index": LABELS},
    "mapping": UserDict({"x": X, "y": Y}),
    "BatchEncoding": BatchEncoding({"x": X, "y": Y}),
    "ModelOutput": Output(x=X, y=Y),
    "named tuple": Pair(X, Y),
    "dataclass": Data(X, Y),
    "dict and labels": ({"x": X, "y": Y}, LABELS),
    "list of dict and labels": [{"x": X, "y": Y}, LABELS],
    "inputs and labels": ((X, Y), LABELS),
    "dataclass and labels": (Data(X, Y), LABELS),
}
ONE: dict[str, Any] = {
    "tensor": X,
    "tuple": (X, LABELS),
    "list": [X, LABELS],
    "one in a tuple": (X,),
    "named tuple": InputAndLabel(X, LABELS),
    "dict": {"x": X},
}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return cimsim.convert(Two(), "pcm-ibm-2020", denoise=0.01)


def ranges(model: nn.Module) -> dict[str, float]:
    return {name: layer.dac_range.item() for name, layer in analog_layers(model).items()}


@pytest.mark.parametrize("batch", BOTH.values(), ids=list(BOTH))
def test_batches_of_two_inputs(model: nn.Module, batch: Any) -> None:
    """All these are ``model(x, y)``: for every verb that takes batches."""
    expected = ranges(
        cimsim.calibrate(cimsim.convert(Two(), "pcm-ibm-2020"), [0], forward=lambda m, _: m(X, Y))
    )
    assert ranges(cimsim.calibrate(model, [batch])) == expected
    for verb in (recalibrate, reestimate, denoise):
        verb(model, [batch])
    found = measure_signals(model, [batch])
    assert found["b"].inputs == Y.numel()


@pytest.mark.parametrize("batch", ONE.values(), ids=list(ONE))
def test_batches_of_one_input(batch: Any) -> None:
    found = []
    for batches in ([batch], [X]):
        layer = cimsim.convert(Two(), "pcm-ibm-2020", only=lambda name, _: name == "a")
        found.append(ranges(cimsim.calibrate(layer, batches)))
    assert found[0] == found[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_data_loaders(model: nn.Module, workers: int) -> None:
    loader = DataLoader(TensorDataset(X, LABELS), 5, num_workers=workers)  # a last batch of one
    cimsim.calibrate(model, loader, missing=True, forward=lambda m, batch: m(batch[0], batch[0]))
    assert set(ranges(model)) == {"a", "b"}
    cimsim.calibrate(model, DataLoader([{"x": x, "y": x, "i": 0} for x in X], 4))


def test_what_is_left_out_is_said_once(model: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.calibrate(model, [{"x": X, "y": Y, "index": LABELS}] * 3)
    assert caplog.text.count("'index' of the batches is ignored") == 1


def test_packed_sequences_are_one_input() -> None:
    lstm = cimsim.convert(nn.LSTM(3, 4), "pcm-ibm-2020")
    packed = pack_sequence([torch.randn(n, 3) for n in (4, 2)])
    assert isinstance(packed, PackedSequence)
    for batch in (packed, (packed, LABELS)):
        cimsim.calibrate(lstm, [batch])
        assert lstm(packed)[0].data.shape == (6, 4)


def test_a_compiled_model_and_any_keywords() -> None:
    class Any_(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Two()

        def forward(self, **given: Tensor) -> Tensor:
            y: Tensor = self.inner(**given)
            return y

    compiled = torch.compile(Two(), backend="eager")
    for plain in (compiled, Any_()):
        analog = cimsim.convert(plain, "pcm-ibm-2020")
        cimsim.calibrate(analog, [{"x": X, "y": Y}])
        assert all(layer.calibrated for layer in analog_layers(analog).values())


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "calibrate: got no batches; .*create a new one"),
        (iter([]), "got no batches"),
        ({"x": X}, r"batches is a dict, not an iterable of batches; .*\[batch\]"),
        (3, "batches is a int, not an iterable"),
        (["text"], "batch 0 is a str, which cimsim cannot pass to a model"),
        ([X, None], "batch 1 is a NoneType"),
        ([X.numpy()], "batch 0 is a ndarray"),
        ([()], "batch 0 is a tuple of nothing"),
        ([{"z": X}], r"batch 0, a dict of z: \[16, 8\], has no entry that this Two accepts \(x, y"),
        ([{"y": X}], "the model failed on batch 0, a dict of y.*missing.*'x'.*forward="),
        ([X, X[:, :5]], r"batch 1, a tensor of shape \[16, 5\].*layer 'a' expects inputs with 8"),
    ],
)
def test_what_cannot_be_read_is_named(model: nn.Module, batches: Any, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        cimsim.calibrate(model, batches)


@pytest.mark.gpu
def test_batches_are_moved_to_the_model() -> None:
    model = cimsim.convert(Two(), "pcm-ibm-2020").cuda()
    loader = DataLoader([{"x": x, "y": x} for x in X], 4, pin_memory=True)
    cimsim.calibrate(model, loader)
    assert model.a.calibrated


def test_tensors_of_a_batch_are_moved_wherever_they_are_in_it() -> None:
    """On the meta device as on a GPU: nothing of the batch stays behind."""
    from cimsim.nn.batches import moved

    meta = torch.device("meta")
    for batch in (*BOTH.values(), *ONE.values()):
        leaves: list[Any] = []

        def collect(value: Any, leaves: list[Any] = leaves) -> None:
            if isinstance(value, Tensor):
                leaves.append(value)
            elif hasattr(value, "values"):
                [collect(v) for v in value.values()]
            elif isinstance(value, tuple | list):
                [collect(v) for v in value]
            else:
                [collect(v) for v in vars(value).values()]

        collect(moved(batch, meta))
        assert leaves
        assert all(leaf.is_meta for leaf in leaves)


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_called_by_keyword(kind: str) -> None:
    analog = cimsim.convert(layer_of(LAYERS[kind]), "ideal")
    x = input_of(LAYERS[kind])
    name = "x" if kind == "Conv1D" else "input"
    assert torch.equal(analog(**{name: x}), analog(x))
    if "Transpose" in kind:
        size = [n + 2 for n in x.shape[2:]]
        assert torch.equal(analog(input=x, output_size=size), analog(x, size))


@pytest.mark.parametrize("kind", LAYERS)
def test_inputs_of_another_shape_are_refused(kind: str) -> None:
    analog = cimsim.convert(layer_of(LAYERS[kind]), "ideal")
    x = input_of(LAYERS[kind])
    channels = x.movedim(1, -1)
    wider = torch.cat([channels, channels], -1).movedim(-1, 1)
    for wrong in (wider, x[0, 0] if x.dim() > 2 else x[:, :2], torch.tensor(1.0), x[None, None]):
        if x.dim() == 2 and wrong.shape[-1:] == x.shape[-1:]:
            continue  # any number of axes before the features
        with pytest.raises(CimsimError, match=r"layer '' expects inputs (of|with) .*but got "):
            analog(wrong)
    with pytest.raises(CimsimError, match="expects a tensor, but got a list"):
        analog(x.tolist())


@pytest.mark.parametrize("inputs", ["dict", "named tuple", "dataclass"])
def test_pairs_of_inputs_and_labels_are_evaluated(inputs: str) -> None:
    model = cimsim.calibrate(cimsim.convert(Two(), "mismatch"), [BOTH["dict"]])  # no read noise
    labels = torch.arange(16) % 4
    found = evaluate_batches(model, [(BOTH[inputs], labels)])
    logits = model.eval()(X, Y)
    assert found.accuracy == (logits.argmax(1) == labels).double().mean().item()
    for wrong, kind in (
        (X, "not a Tensor"),
        (BOTH["dict"], "not a dict; for other batches, write a function of the model"),
        ((X, [0] * 16), "not a tuple of Tensor, list"),
    ):
        with pytest.raises(CimsimError, match=f"batch 0 must be a pair of inputs and .*{kind}"):
            evaluate_batches(model, [wrong])
    with pytest.raises(CimsimError, match="must return its logits, not a dict"):
        evaluate_batches(Logits(model), [(X, labels)])


def test_ignored_labels_do_not_count() -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(4, 3), "mismatch"), [torch.rand(16, 4)])
    x = torch.rand(16, 4)
    best = model.eval()(x).argmax(1)
    half = torch.arange(16) % 2 == 0
    found = evaluate_batches(model, [(x, torch.where(half, best, -100))])
    assert found.accuracy == 1.0
    assert found.loss == pytest.approx(evaluate_batches(model, [(x[half], best[half])]).loss)
    assert evaluate_batches(model, [(x, best.int())]).accuracy == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(16), "labels must be class numbers, not float32"),
        (
            torch.full((16,), 3),
            "label 3 is not a class of a model with 3 outputs; labels must be 0 to 2",
        ),
        (torch.full((16,), -1), "label -1 is not a class"),
        (torch.zeros(5).long(), r"returns \[16, 3\] for labels \[5\]"),
        (torch.zeros(16, 3).long(), r"returns \[16, 3\] for labels \[16, 3\]"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: torch.Tensor, message: str) -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(4, 3), "mismatch"), [torch.rand(16, 4)])
    with pytest.raises(CimsimError, match=f"^batch 0: .*{message}"):
        evaluate_batches(model, [(torch.rand(16, 4), labels)])
