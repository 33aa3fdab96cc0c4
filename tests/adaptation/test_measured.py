"""Parts that measure: what they do exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from tests.adaptation.examples import Bench, error, faulty, inputs, network, programmed


def test_gain_and_offset_undo_a_gain_of_each_column() -> None:
    reference, model = network(), programmed("ideal")
    scaled = Bench(model, lambda w, draws: w * draws.uniform(0.5, 2.0, (len(w), 1)))
    cimsim.nn.use_chip(model, scaled)
    assert error(model, reference, inputs()) > 0.05
    result = cimsim.adapt(model, [inputs()], "gain-offset:ridge=0")
    assert error(model, reference, inputs()) < 1e-5
    assert result.total["added"] == 2 * (24 + 5)
    again = cimsim.adapt(model, [inputs()], "gain-offset:ridge=0")
    assert again.total["added"] == 0
    assert again.total["changed"] == 2 * (24 + 5)


def test_least_squares_of_a_noisy_column() -> None:
    """Gain and offset are those of a straight line through the digital output, by numpy."""
    layer = nn.Linear(12, 3)
    model = programmed(faulty(0.1), nn.Sequential(layer))
    with torch.no_grad():
        y, t = model(inputs()).numpy(), layer(inputs()).numpy()
    cimsim.program(model, seed=3)
    cimsim.adapt(model, [inputs()], "gain-offset:ridge=0")
    cimsim.program(model, seed=3)
    gain, offset = model[0].denoiser.affine()
    for column in range(3):
        slope, start = np.polyfit(y[:, column], t[:, column], 1)
        assert gain[column].item() == pytest.approx(slope, rel=1e-3)
        assert offset[column].item() == pytest.approx(start, abs=1e-3)


@pytest.mark.parametrize("sizes", [[250, 6], [240, 16], [1] * 256, [15, 100, 141]], ids=str)
def test_every_vector_counts_alike(sizes: list[int]) -> None:
    """However they are divided among batches; for a linear layer, they are one regression."""
    layer = nn.Linear(12, 3)
    found = []
    for batches in ([inputs()], inputs().split(sizes)):
        model = programmed(faulty(0.1), nn.Sequential(layer))
        budget = f"gain-offset:ridge=0,batches={len(batches)}"
        cimsim.adapt(model, batches, budget, budget=len(batches))
        found.append(model[0].denoiser.affine())
    for whole, divided in zip(*found, strict=True):
        torch.testing.assert_close(divided, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("adapter", ["low-rank:rank=2", "sparse"])
def test_gain_and_offset_leave_to_the_adapters_what_they_contribute(adapter: str) -> None:
    """By numpy: the line through what the digital output exceeds the adapters' by."""
    layer = nn.Linear(12, 3)
    model = programmed(faulty(0.1), nn.Sequential(layer))
    cimsim.adapt(model, inputs().split(64), adapter, budget=30)
    (own,) = model[0].adapters.values()
    with torch.no_grad():
        added = (inputs() @ own.delta().T).numpy()
        y = cimsim.program(model, seed=3)(inputs()).numpy() - added
        t = layer(inputs()).numpy() - added
    cimsim.program(model, seed=3)
    cimsim.adapt(model, [inputs()], "gain-offset:ridge=0")
    gain, offset = model[0].denoiser.affine()
    for column in range(3):
        slope, start = np.polyfit(y[:, column], t[:, column], 1)
        assert gain[column].item() == pytest.approx(slope, rel=1e-3)
        assert offset[column].item() == pytest.approx(start, abs=1e-3)


def test_another_ridge_is_used_for_gains_that_exist() -> None:
    model, other = programmed(faulty()), programmed(faulty())
    for ridge in (0.5, 0.0):
        cimsim.adapt(cimsim.program(model, seed=3), [inputs()], f"gain-offset:ridge={ridge}")
    cimsim.adapt(cimsim.program(other, seed=3), [inputs()], "gain-offset:ridge=0")
    for own, expected in zip(model[0].denoiser.affine(), other[0].denoiser.affine(), strict=True):
        torch.testing.assert_close(own, expected)


class Routed(nn.Module):
    """A layer that no batch uses, and an expert for few inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.expert, self.unused = (nn.Linear(12, 5) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.shared(x)
        return torch.cat([y[:3] + self.expert(x[:3]), y[3:]])


def test_layers_that_batches_do_not_use_get_no_gain(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = programmed(faulty(), Routed())
    result = cimsim.adapt(model, inputs().split(64), "gain-offset")
    assert result.total["added"] == 2 * 5
    assert model.expert.denoiser is None
    assert model.unused.denoiser is None
    assert "denoise: no batch reached 'unused'; statistics unchanged" in caplog.text
    assert "denoise: the batches have too few vectors for 'expert'" in caplog.text


def test_few_vectors_leave_gains_as_they_are() -> None:
    model = programmed(faulty())
    cimsim.adapt(model, [inputs()], "gain-offset")
    gain, offset = model[0].denoiser.affine()
    cimsim.nn.denoise(model, [inputs(4)])
    assert torch.equal(model[0].denoiser.affine()[0], gain)
    assert torch.equal(model[0].denoiser.affine()[1], offset)


@pytest.mark.parametrize(
    ("part", "function"), [("ranges", "recalibrate"), ("batch-norm", "reestimate")]
)
def test_it_is_the_function_of_that_name(part: str, function: str) -> None:
    batches = list(inputs().split(64))
    adapted, expected = (programmed(faulty(), network(norm=True)) for _ in range(2))
    cimsim.adapt(adapted, batches, f"{part}:batches=2")
    getattr(cimsim.nn, function)(expected, batches[:2])
    own, others = adapted.state_dict(), expected.state_dict()
    assert all(torch.equal(own[key], others[key]) for key in others if "num_batches" not in key)
