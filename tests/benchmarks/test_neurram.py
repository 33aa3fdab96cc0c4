"""NeuRRAM's networks: the one for MNIST, and fine-tuning with the chip in the loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from benchmarks.papers import wan_2022, wan_2022_loop
from benchmarks.papers import wan_2022_mnist as paper
from benchmarks.papers.mnist import Digits, accuracy, digits
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials
from benchmarks.papers.wan_2022 import Quantize, chip_profile


@pytest.fixture
def weights() -> Path:
    """A clone of ``weierwan/Neurram_48core``, named by $CIMSIM_NEURRAM."""
    folder = os.environ.get("CIMSIM_NEURRAM")
    if folder is None:
        pytest.skip("needs the published weights: $CIMSIM_NEURRAM is not set")
    return Path(folder)


@pytest.fixture
def images() -> Digits:
    """The first 2,000 test images."""
    folder = os.environ.get("CIMSIM_DATA")
    if folder is None or not (Path(folder) / "MNIST").is_dir():
        pytest.skip("needs MNIST in $CIMSIM_DATA")
    return paper.three_bits(digits(Path(folder))[1].part(torch.arange(2000)))


def test_gradients_pass_the_quantizer_inside_its_range() -> None:
    x = torch.tensor([-1.0, 0.3, 2.0, 9.0], requires_grad=True)
    Quantize(torch.tensor(3.5))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_last_tile_of_the_dense_layer() -> None:
    """Rows 430 to 511 in TensorFlow's order [height, width, channels] of 4 x 4 x 32 values."""
    maps = torch.arange(512.0).view(1, 4, 4, 32)  # each value is its row in TensorFlow
    model = nn.Sequential(nn.Flatten(), nn.Linear(512, 10))
    part, x = paper.tile(model, Digits(maps.permute(0, 3, 1, 2), torch.zeros(1)))
    assert part.weight.shape == (10, 82)
    assert x.tolist() == [list(range(430, 512))]


def test_the_error_of_sums_is_relative_to_the_line_through_them() -> None:
    torch.manual_seed(0)
    part, x = nn.Linear(8, 10, bias=False), torch.randn(4000, 8)

    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3.0 * (part(x) + 0.2 * torch.randn(len(x), 10)) + 5.0

    assert paper.error_of_sums(Noisy(), part, x) == pytest.approx(0.2, rel=0.02)


def test_the_published_network(weights: Path, images: Digits) -> None:
    model = paper.network(weights)
    assert sum(p.numel() for p in model.parameters()) == paper.PARAMETERS
    digital = accuracy(model, images)
    assert digital > 98.5
    analog = cimsim.convert(model, chip_profile()).eval()
    cimsim.calibrate(analog, images.x[:256].split(64))
    cimsim.age(cimsim.program(analog, 0), 1800.0)
    assert accuracy(analog, images) == pytest.approx(digital, abs=0.5)


def test_fine_tuning_passes_the_activations_of_three_bits() -> None:
    """Every layer behind the first is trained, although activations between them are rounded."""
    torch.manual_seed(0)
    layers = [nn.Linear(16, 16) for _ in range(3)]
    quantize = Quantize(torch.tensor(2.0))
    model = nn.Sequential(layers[0], quantize, layers[1], quantize, layers[2])
    analog = cimsim.convert(model, chip_profile()).eval()
    x = quantize(torch.rand(64, 16) * 2)
    cimsim.calibrate(analog, [x])
    cimsim.program(analog, 0)
    before = [layer.weight.detach().clone() for layer in cimsim.analog_layers(analog).values()]
    cimsim.adapt(analog, [x] * 13, "chip-in-the-loop:lr=0.01", budget=13)
    after = [layer.weight for layer in cimsim.analog_layers(analog).values()]
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, True, True]


def test_committed_gains_are_those_of_the_trials() -> None:
    trials = Trials(RESULTS / f"{wan_2022_loop.NAME}.csv")
    assert trials.groups(wan_2022_loop.ARM, "before") == [
        Trials(RESULTS / f"{wan_2022.NAME}.csv").groups(wan_2022.DEPLOYED_ARM, "accuracy")[0]
    ]
    gain = wan_2022_loop.paper(trials).row("gain")
    assert gain.cimsim.value > 0
    assert gain.agrees
