"""The estimate of the curvature against the exact empirical Fisher matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cimsim
from cimsim.nn import analog_layers, digital
from cimsim.training.config import make_config
from cimsim.training.curvature import Curvature
from cimsim.training.parallel import Ranks
from cimsim.training.plan import TrainingPlan
from cimsim.training.progress import Silent
from cimsim.training.trainer import Trainer

SAMPLES = 420


def fisher(model: nn.Module, x: Tensor, y: Tensor, batch: int) -> list[Tensor]:
    """Mean over labels of the squared gradients of each label's loss, one backward for each.

    An epoch has no label twice, which makes the variance of batches smaller by their share of it.
    """
    layers = list(analog_layers(model).values())
    sums = [torch.zeros(2, *layer.weight.shape) for layer in layers]
    with digital(model):
        for one_x, one_y in zip(x, y, strict=True):
            model.zero_grad()
            F.cross_entropy(model(one_x[None]), one_y[None]).backward()
            for total, layer in zip(sums, layers, strict=True):
                assert layer.weight.grad is not None
                total += torch.stack((layer.weight.grad, layer.weight.grad.square())) / len(x)
    means = [(mean.square(), square) for mean, square in sums]
    return [(square - mean) * (1 - batch / len(x)) + mean for mean, square in means]


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 8},
        {"batch_size": 50},
        {"batch_size": 48, "accumulate": 3},
        {"batch_size": 70},  # the last batch of an epoch has 40
    ],
    ids=str,
)
def test_it_is_the_fisher_matrix_at_any_batch_size(settings: dict[str, Any]) -> None:
    config = make_config(
        profile="ideal", method="digital", objective=("lotion",), limit=SAMPLES, **settings
    )
    training = Trainer(TrainingPlan.load(config), Path(), Silent(), Ranks(), "cpu", trust=False)
    training.optimizers = []  # the weights stay
    for epoch in range(2 if config.batch_size == 8 else 10):
        for x, y in training.loader.epoch(epoch):
            training._train_step(x, y)
    assert training.curvature is not None
    exact = fisher(training.model, training.loader.x, training.loader.y, config.batch_size)
    for layer, expected in zip(analog_layers(training.model).values(), exact, strict=True):
        estimate = training.curvature.of(layer.weight)
        assert estimate is not None
        assert float(estimate.sum() / expected.sum()) == pytest.approx(1.0, abs=0.25)
        pair = torch.stack((estimate.flatten(), expected.flatten()))
        assert float(torch.corrcoef(pair)[0, 1]) > 0.9


def test_the_variance_of_two_steps_in_closed_form() -> None:
    """Two equal batches of N: ``v = N (g1 - g2)^2 / 2``, ``m = (g1 + g2) / 2``, nearly."""
    model = cimsim.convert(nn.Linear(3, 2), "ideal")
    curvature = Curvature(model)
    (weight,) = (layer.weight for layer in analog_layers(model).values())
    first, second = torch.randn(2, 3), torch.randn(2, 3)
    for gradient in (first, second):
        assert curvature.of(weight) is None
        weight.grad = gradient
        curvature.update(10)
    expected = 10 * (first - second).square() / 2 + ((first + second) / 2).square()
    found = curvature.of(weight)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    again = Curvature(model)
    again.load(curvature.state())
    assert torch.equal(again.of(weight), found)  # type: ignore[arg-type]


def test_labels_that_the_loss_ignores_do_not_count() -> None:
    from cimsim.training.tasks import CLASSIFICATION

    assert CLASSIFICATION.labels(torch.tensor([[1, -100, 2], [-100, 0, 0]])) == 4
