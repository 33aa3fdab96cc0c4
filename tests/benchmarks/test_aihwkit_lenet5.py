"""aihwkit's notebook of a LeNet5 on phase-change memory: the noise of its configuration, the
committed result, and a short training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import cimsim
from benchmarks.papers import aihwkit_lenet5 as paper
from benchmarks.papers.mnist import Digits, digits
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials


@pytest.fixture
def images() -> tuple[Digits, Digits]:
    """Some training and test images."""
    folder = os.environ.get("CIMSIM_DATA")
    if folder is None or not (Path(folder) / "MNIST").is_dir():
        pytest.skip("needs MNIST in $CIMSIM_DATA")
    train, test = digits(Path(folder))
    return train.part(torch.arange(12_000)), test.part(torch.arange(2000))


def test_the_noise_of_a_sum_is_absolute() -> None:
    """sqrt(0.06^2 + 0.02^2 |x|^2), whatever the weights are."""
    torch.manual_seed(0)  # no sum of these inputs reaches the bound of the outputs
    x = torch.rand(1, 512)
    expected = (0.06**2 + 0.02**2 * x.square().sum().item()) ** 0.5
    for largest in (0.05, 0.5):
        layer = torch.nn.Linear(512, 4)
        with torch.no_grad():
            layer.weight.mul_(largest / layer.weight.abs().max())
        noisy = paper.analog(torch.nn.Sequential(layer), cells=False).eval()
        with torch.no_grad():
            sums = noisy(x.expand(5000, -1))
        assert sums.std(0).mean().item() == pytest.approx(expected, rel=0.03)


def test_the_cells_are_those_of_the_shipped_profile() -> None:
    found = paper.profile_of(0.3, cells=True)
    shipped = cimsim.load_profile("pcm-ibm-2020")
    for name in ("programming_noise", "drift", "read_noise"):
        ours, theirs = (getattr(each.cell, name)[0] for each in (found, shipped))
        assert ours.model_dump(exclude={"source"}) == theirs.model_dump(exclude={"source"})
    assert found.array.drift_compensation == "global"


def test_a_factor_from_readouts_compensates_drift() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 8)
    with torch.no_grad():
        layer.weight.fill_(0.1)
    model = paper.analog(torch.nn.Sequential(layer), cells=True, layers=paper.NO_LAYERS).eval()
    cimsim.program(model, 0)
    fresh = {name: paper.readout(part) for name, part in cimsim.analog_layers(model).items()}
    cimsim.age(model, 1e6)
    x = torch.ones(1000, 64)
    with torch.no_grad():
        aged = (model(x) - layer.bias).mean().item()
        handles = paper.compensated(model, fresh)
        factored = (model(x) - layer.bias).mean().item()
        for handle in handles:
            handle.remove()
        again = (model(x) - layer.bias).mean().item()
    assert aged < 4.5
    assert factored == pytest.approx(6.4, rel=0.1)
    assert again == pytest.approx(aged, rel=0.01)


def test_convolutions_are_not_compensated_in_the_version_of_the_notebook() -> None:
    model = paper.analog(paper.network(0), cells=True, layers=paper.LINEAR)
    found = {
        type(layer).__name__: layer.profile.array.drift_compensation
        for layer in cimsim.analog_layers(model).values()
    }
    assert found == {"AnalogConv2d": "none", "AnalogLinear": "global"}


def test_a_short_training_survives_on_a_chip(images: tuple[Digits, Digits]) -> None:
    """As published, a chip loses less than a point right after programming, and a few points
    after 1e6 s."""
    train, test = images
    model = paper.network(0)
    paper.train_epoch(model, train, 0, 0)
    exact = paper.with_training_noise(model, test)
    assert exact > 85
    chip = paper.analog(model, cells=True)
    cimsim.program(chip, 0)
    cimsim.age(chip, 0.0)
    assert paper.accuracy(chip, test) == pytest.approx(exact, abs=2.0)
    cimsim.age(chip, 1e6)
    assert paper.accuracy(chip, test) > exact - 6


def test_committed_accuracies() -> None:
    """The key number: 98.81 % on a chip right after programming."""
    result = paper.paper(Trials(RESULTS / f"{paper.NAME}.csv"))
    assert result.row("trained").agrees
    assert result.row("0 s").agrees
    values = [result.row(paper.name_of(age_s)).cimsim.value for age_s in paper.PRINTED]
    assert values[0] > 98.5
    assert values[-1] < values[0]
