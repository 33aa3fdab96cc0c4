"""Weights of ONNX files, written with onnx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def write(path: Path, tensors: dict[str, Tensor], nodes: Sequence[Any] = ()) -> Path:
    graph = onnx.helper.make_graph(
        list(nodes),
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


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_square_matrices_have_the_orientation_of_their_operator(
    tmp_path: Path, operator: str
) -> None:
    """As torch.onnx writes them: transposed matrices are renamed and follow those with names."""
    theirs, ours = (nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))) for _ in range(2))
    state = theirs.state_dict()
    transposed = {f"val_{i}": state.pop(f"{i}.weight").T.contiguous() for i in (1, 0)}
    constant = {"scale": torch.tensor([0.5])}
    node = onnx.helper.make_node
    nodes = [
        node(operator, ["x", "val_0"], ["a"]),
        node(operator, ["a", "val_1"], ["b"]),
        node("Gemm", ["b", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    file = write(tmp_path / "net.onnx", {**state, **transposed, **constant}, nodes)
    names = load_onnx_weights(ours, file)
    assert same_weights(ours, theirs)
    assert [names[f"{i}.weight"] for i in range(3)] == ["val_0", "val_1", "2.weight"]


def test_square_matrices_that_are_transposed_by_an_operator_stay(tmp_path: Path) -> None:
    theirs, ours = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    node = onnx.helper.make_node
    nodes = [node("Gemm", ["x", "w"], ["y"], transB=1)]
    load_onnx_weights(ours, write(tmp_path / "net.onnx", {"w": theirs.weight}, nodes))
    assert same_weights(ours, theirs)
    nodes = [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])]
    load_onnx_weights(ours, write(tmp_path / "net.onnx", {"w": -theirs.weight}, nodes))
    assert torch.equal(ours.weight, -theirs.weight)


def test_a_converted_model(tmp_path: Path) -> None:
    theirs = model()
    converted = cimsim.convert(model(), "pcm-ibm-2020")
    cimsim.calibrate(converted, [torch.rand(4, 1, 4, 4)])
    load_onnx_weights(converted, write(tmp_path / "net.onnx", dict(theirs.state_dict())))
    assert torch.equal(converted[2].weight, theirs[2].weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k != "4.bias"},
            r"equal names, the file has 0 vec",
        ),
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
