"""NeuRRAM's networks: the reader of their checkpoints, their layers, and the noise of the table."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from benchmarks.papers.tensor_bundle import read_bundle
from benchmarks.papers.wan_2022 import Quantize, SameConv, noisy_cells


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block whose keys share prefixes, with its trailer."""
    body, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b),
            min(len(before), len(key)),
        )
        rest = key[shared:]
        body += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        before = key
    return body + struct.pack("<II", 0, 1) + b"\0" * 5


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor], kind: int = 1) -> None:
    data, entries = b"", [(b"", b"\x08\x01")]
    for name, tensor in sorted(tensors.items()):
        raw = tensor.numpy().astype("<f4").tobytes()
        shape = b"".join(
            b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in tensor.shape)
        )
        entry = b"\x08" + varint(kind) + b"\x12" + varint(len(shape)) + shape
        entry += b"\x20" + varint(len(data)) + b"\x28" + varint(len(raw)) + b"\x35" + b"crc!"
        entries.append((f"{name}/.ATTRIBUTES/VARIABLE_VALUE".encode(), entry))
        data += raw
    first = block(entries)
    handle = varint(0) + varint(len(first) - 5)
    index = block([(b"z", handle)])
    footer = varint(0) + varint(0) + varint(len(first)) + varint(len(index) - 5)
    footer = footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "variables.index").write_bytes(first + index + footer)
    (folder / "variables.data-00000-of-00001").write_bytes(data)


def test_tensors_of_a_checkpoint_are_read(tmp_path: Path) -> None:
    tensors = {
        "layer_with_weights-0/kernel": torch.randn(3, 3, 2, 200),
        "layer_with_weights-0/bias": torch.randn(200),
        "layer_with_weights-1/relux": torch.tensor(2.5),
    }
    write_checkpoint(tmp_path, tensors)
    found = read_bundle(tmp_path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is missing"):
        read_bundle(tmp_path)
    (tmp_path / "variables.index").write_bytes(b"x" * 100)
    with pytest.raises(SystemExit, match="not the index of a TensorFlow checkpoint"):
        read_bundle(tmp_path)
    write_checkpoint(tmp_path, {"step": torch.zeros(1)}, kind=9)
    assert read_bundle(tmp_path) == {}


def test_activations_have_three_bits() -> None:
    quantize = Quantize(torch.tensor(3.5))
    assert quantize(torch.tensor([-1.0, 0.2, 0.3, 3.2, 3.3, 9.0])).tolist() == pytest.approx(
        [0.0, 0.0, 0.5, 3.0, 3.5, 3.5]
    )
    assert len(quantize(torch.linspace(-1, 5, 1000)).unique()) == 8


@pytest.mark.parametrize(("stride", "borders"), [(1, (1, 1, 1, 1)), (2, (0, 1, 0, 1))])
def test_padding_is_that_of_tensorflow(stride: int, borders: tuple[int, ...]) -> None:
    """``same`` for an even size: an odd number of zeros, the larger half at the end."""
    conv, x = nn.Conv2d(2, 3, 3, stride), torch.randn(1, 2, 8, 8)
    expected = conv(nn.functional.pad(x, borders))
    assert expected.shape[2] == 8 // stride
    torch.testing.assert_close(SameConv(conv)(x), expected)


def test_the_noise_of_the_table() -> None:
    """Every weight, also of 0, has noise of 10 % of the largest weight of its layer."""
    torch.manual_seed(0)
    layer = nn.Linear(200, 200)
    with torch.no_grad():
        layer.weight[:100] = 0.0
    analog = cimsim.program(cimsim.convert(layer, noisy_cells(0.1)).eval(), 3)
    noise = analog.programmed_weight() - layer.weight.detach()
    expected = 0.1 * layer.weight.detach().abs().max()
    for part in (noise[:100], noise[100:]):
        assert part.std().item() == pytest.approx(expected.item(), rel=0.02)
        assert part.mean().item() == pytest.approx(0.0, abs=4 * expected.item() / 141)
