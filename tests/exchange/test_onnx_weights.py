"""Weights of ONNX files, written with onnx."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.exchange import load_onnx_weights

onnx = pytest.importorskip("onnx", reason="reads ONNX files, which needs the extra onnx")


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)
    )


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    graph = onnx.helper.make_graph(
        [],
        "net",
        [],
        [],
        [onnx.numpy_helper.from_array(t.detach().numpy(), name) for name, t in tensors.items()],
    )
    onnx.save(onnx.helper.make_model(graph), str(path))
    return path


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def test_by_name(tmp_path: Path) -> None:
    theirs, ours = model(), model()
    shuffled = dict(reversed(theirs.state_dict().items()))
    names = load_onnx_weights(ours, write(tmp_path / "net.onnx", shuffled))
    assert same_weights(ours, theirs)
    assert names["2.weight"] == "2.weight"


def test_by_order_with_transposed_matrices(tmp_path: Path) -> None:
    theirs, ours = model(), model()
    renamed = {}
    for number, tensor in enumerate(theirs.state_dict().values()):
        linear = tensor.dim() == 2
        renamed[f"onnx::MatMul_{number}"] = tensor.T.contiguous() if linear else tensor
    renamed["axes"] = torch.tensor([1, 2])  # whole numbers are no weights
    names = load_onnx_weights(ours, write(tmp_path / "net.onnx", renamed))
    assert same_weights(ours, theirs)
    assert names["0.weight"] == "onnx::MatMul_0"


def test_a_converted_model(tmp_path: Path) -> None:
    theirs = model()
    converted = cimsim.convert(model(), "pcm-ibm-2020")
    cimsim.calibrate(converted, [torch.rand(4, 1, 4, 4)])
    load_onnx_weights(converted, write(tmp_path / "net.onnx", dict(theirs.state_dict())))
    assert torch.equal(converted[2].weight, theirs[2].weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "4.bias"}, "the file has 2 vectors"),
        (lambda t: t | {"2.weight": torch.zeros(5, 13)}, r"'2.weight' of shape \[5, 13\] does not"),
        (lambda t: {"n": torch.tensor([1])}, "contains no weights"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, change: object, message: str) -> None:
    ours = model()
    before = {name: t.clone() for name, t in ours.state_dict().items()}
    file = write(tmp_path / "net.onnx", change(dict(model().state_dict())))  # type: ignore[operator]
    with pytest.raises(CimsimError, match=message):
        load_onnx_weights(ours, file)
    assert all(torch.equal(t, before[name]) for name, t in ours.state_dict().items())


def test_no_file_of_that_kind(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="there is no such file"):
        load_onnx_weights(model(), tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("weights")
    with pytest.raises(CimsimError, match="not an ONNX file"):
        load_onnx_weights(model(), tmp_path / "text.onnx")
