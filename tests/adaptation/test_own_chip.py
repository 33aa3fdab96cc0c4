"""A chip of the user's own: any function that multiplies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from tests.adaptation.examples import Bench, error, faulty, inputs, network, programmed


@pytest.mark.parametrize(
    ("layer", "x", "shape"),
    [
        (nn.Linear(20, 7), torch.randn(5, 20), (5, 20)),
        (nn.Conv2d(4, 6, 3, padding=1, stride=2), torch.randn(2, 4, 9, 9), (50, 36)),
        (nn.Conv2d(4, 6, 3, groups=2, padding="same"), torch.randn(2, 4, 9, 9), (162, 36)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), torch.randn(2, 4, 5, 5), (50, 4)),
        (nn.Conv1d(4, 6, 3, dilation=2), torch.randn(4, 8), (4, 12)),
        (nn.Conv3d(2, 3, 2), torch.randn(1, 2, 3, 3, 3), (8, 16)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_vectors_and_matrices_of_every_layer(
    layer: nn.Module, x: Tensor, shape: tuple[int, int]
) -> None:
    model = cimsim.convert(layer, "pcm-ibm-2020").eval()  # never calibrated
    seen = []

    def chip(name: str, vectors: Tensor) -> np.ndarray:
        seen.append(tuple(vectors.shape))
        return np.asarray(vectors) @ cimsim.nn.matrices(model)[name].numpy().T

    cimsim.nn.use_chip(model, chip)
    x.requires_grad_()
    y, expected = model(x), layer(x)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)
    assert seen == [shape]
    assert model.count_vectors(x) == shape[0]
    (own,) = torch.autograd.grad(y.square().sum(), x)
    (exact,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(own, exact, atol=1e-3, rtol=1e-3)


def test_it_stays_and_can_be_taken_off() -> None:
    model = programmed("pcm-ibm-2020")
    simulated = model(inputs())
    chip = Bench(model, lambda w, _: w)
    cimsim.adapt(model, [inputs()], "affine", chip=chip, budget=1)
    count = len(chip.calls)
    copied = copy.deepcopy(model)
    copied(inputs())
    assert chip.calls[count:] == ["0", "2"]
    cimsim.nn.use_chip(model, None)
    cimsim.program(model, seed=3)
    assert model(inputs()).shape == simulated.shape
    assert len(chip.calls) == count + 2


def test_all_digital_parts_work_on_it() -> None:
    """Errors of its own: gains, offsets, dead cells, and noise of each read."""
    reference, model = network(), programmed("pcm-ibm-2020")
    noise = np.random.default_rng(1)

    class Silicon(Bench):
        def __call__(self, layer: str, x: Tensor) -> np.ndarray:
            y = super().__call__(layer, x)
            return np.tanh(y / 4) * 4 + 0.05 + noise.normal(0, 0.005, y.shape)

    chip = Silicon(model, lambda w, d: w * d.normal(0.8, 0.2, w.shape) * (d.random(w.shape) > 0.05))
    cimsim.nn.use_chip(model, chip)
    before = error(model, reference, inputs())
    parts = "gain-offset, low-rank, sparse, affine"
    result = cimsim.adapt(model, inputs().split(64), parts, budget=100)
    assert error(model, reference, inputs()) < 0.4 * before
    assert [cost.part for cost in result.costs] == parts.split(", ")


def test_digital_means_all_parts_that_it_can_do() -> None:
    model = programmed("pcm-ibm-2020", network(norm=True))
    chip = Bench(model, lambda w, _: w)
    result = cimsim.adapt(model, [inputs()], "digital", chip=chip, budget=1)
    names = [cost.part for cost in result.costs]
    assert names == ["gain-offset", "batch-norm", "low-rank", "sparse", "affine"]


@pytest.mark.parametrize("part", ["ranges", "fault-mapping", "chip-in-the-loop", "rewrite"])
def test_what_it_cannot_do(part: str) -> None:
    model = programmed("pcm-ibm-2020")
    with pytest.raises(CimsimError, match=f"'{part}' .* which your own chip does not support"):
        cimsim.adapt(model, [inputs()], part, chip=Bench(model, lambda w, _: w))
    assert model[0].own_chip is None


def broken(_: str, x: Tensor) -> Any:
    raise OSError("no answer from 192.0.2.1")


@pytest.mark.parametrize(
    ("chip", "message"),
    [
        (
            lambda name, x: np.zeros((3, 3)),
            r"layer '0' with 256 vectors, returned the shape \[3, 3\]",
        ),
        (lambda name, x: np.full((len(x), 24), np.nan), "returned NaN or infinite numbers"),
        (lambda name, x: None, "returned a NoneType; return a tensor or an array"),
        (lambda name, x: "text", "returned a str"),
        (broken, "failed: .*no answer from"),
    ],
)
def test_chips_that_do_not_multiply(chip: Callable[..., Any], message: str) -> None:
    model = programmed("pcm-ibm-2020")
    with pytest.raises(CimsimError, match=message):
        cimsim.adapt(model, [inputs()], "gain-offset", chip=chip)
    assert model[0].own_chip is None
    assert model[0].denoiser is None


def test_a_placement_is_part_of_what_is_written() -> None:
    reference, model = network(), programmed(faulty(0.0))
    cimsim.adapt(model, [inputs()], "fault-mapping")
    cimsim.nn.use_chip(model, Bench(model, lambda w, _: w))
    for layer in cimsim.analog_layers(model).values():
        layer.placement.shift = None  # it makes up for the faults of the simulated chip
    cimsim.nn.use_chip(model, Bench(model, lambda w, _: w))
    assert error(model, reference, inputs()) < 1e-5
