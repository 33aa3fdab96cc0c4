"""Metrics over chips."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import Any

import pytest
import torch

import cimsim
from cimsim.errors import CimsimError
from cimsim.integrations.over_chips import ChipMetrics, checked_settings
from tests.integrations.networks import TEST, converted


def model_and_score() -> tuple[Any, Any]:
    model = cimsim.calibrate(converted(), [TEST.x])

    def score() -> dict[str, float]:
        with torch.no_grad():
            y = model.eval()(TEST.x)
        accuracy = (y.argmax(-1) == TEST.labels).double().mean().item()
        loss = torch.nn.functional.cross_entropy(y, TEST.labels).item()
        return {"val_loss": loss, "val_accuracy": accuracy}

    return model, score


def test_mean_deviation_and_worst_of_every_metric() -> None:
    model, score = model_and_score()
    single = []
    for chip in range(3):
        cimsim.age(cimsim.program(model, chip), "1h")
        single.append(score())
    cimsim.program(model, 0)
    found = ChipMetrics(3, "1h").measure(model, score, "val_")
    losses, accuracies = ([one[name] for one in single] for name in ("val_loss", "val_accuracy"))
    assert found == pytest.approx(
        {
            "val_chip_loss_mean": fmean(losses),
            "val_chip_loss_std": stdev(losses),
            "val_chip_loss_worst": max(losses),
            "val_chip_accuracy_mean": fmean(accuracies),
            "val_chip_accuracy_std": stdev(accuracies),
            "val_chip_accuracy_worst": min(accuracies),
        },
        rel=1e-12,
    )


def test_the_model_is_as_before() -> None:
    model, score = model_and_score()
    cimsim.age(cimsim.program(model, 9, 2), 100.0)
    with torch.no_grad():
        model.eval()(TEST.x)
        expected = [model(TEST.x), model(TEST.x)]  # two reads
        cimsim.age(cimsim.program(model, 9, 2), 100.0)
        model(TEST.x)
        model.train()
        torch.manual_seed(4)
        ChipMetrics(2).measure(model, lambda: {"noise": torch.randn(()).item(), **score()}, "")
        number = torch.randn(())
        torch.manual_seed(4)
        assert torch.equal(number, torch.randn(()))
        assert model.training
        model.eval()
        assert all(torch.equal(model(TEST.x), y) for y in expected)


def test_bad_settings() -> None:
    with pytest.raises(CimsimError, match="chips must be 0 or more, not -1"):
        ChipMetrics(-1)
    with pytest.raises(CimsimError, match="integer"):
        ChipMetrics(1.5)  # type: ignore[arg-type]
    with pytest.raises(CimsimError, match="soon"):
        ChipMetrics(1, "soon")
    with pytest.raises(TypeError, match="nois"):
        checked_settings({"nois": 2.0})
    with pytest.raises(TypeError, match="steps"):
        checked_settings({"steps": 2})
