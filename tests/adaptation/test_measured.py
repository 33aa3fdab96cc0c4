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
