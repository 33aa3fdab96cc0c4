"""A plateau of the straight-through estimator is told from a standstill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.nn import analog_layers
from cimsim.training.fit import fit
from cimsim.training.plateau import PlateauWatch
from cimsim.training.records import read_metrics
from tests.training.small import STEPS, small, stopped


def model(quantizer: str | None) -> nn.Module:
    torch.manual_seed(0)
    return cimsim.convert(nn.Linear(64, 64), "ideal", quantize_weights=quantizer)


def after(net: nn.Module, move: float, losses: tuple[float, float]) -> tuple[object, str | None]:
    watch = PlateauWatch(net)
    (layer,) = analog_layers(net).values()
    watch.begin()
    watch.end(losses[0])
    watch.begin()
    with torch.no_grad():
        layer.weight.add_(move * layer.weight.abs().mean())
    return watch.end(losses[1])


QUANTIZED = small(quantize_weights="lsq:bits=3", quantize_inputs="lsq:bits=4")


def without_seconds(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    rows = without_seconds(fit(QUANTIZED, tmp_path_factory.mktemp("straight") / "run").path)
    assert all(row["weights_moved"] > 0 for row in rows)
    return rows


RANGE = "uniform:bits=2,range=10"  # every weight rounds to zero


def test_moving_weights_whose_levels_stay_are_a_plateau() -> None:
    movement, remark = after(model(RANGE), 0.5, (1.0, 1.0))
    assert remark is not None
    assert "only 0.00 % of them changed their level" in remark
    assert movement is not None


def test_no_plateau_where_the_loss_falls_the_levels_change_or_nothing_moves() -> None:
    assert after(model(RANGE), 0.5, (1.0, 0.9))[1] is None
    assert after(model("uniform:bits=8"), 0.5, (1.0, 1.0))[1] is None
    assert after(model(RANGE), 0.0, (1.0, 1.0))[1] is None


def test_without_levels_there_is_nothing_to_tell() -> None:
    for quantizer in (None, "stochastic-sign"):
        assert after(model(quantizer), 0.5, (1.0, 1.0)) == (None, None)


def test_counts_are_those_of_the_weights() -> None:
    net = model("uniform:bits=2,range=0.1")
    watch = PlateauWatch(net)
    (layer,) = analog_layers(net).values()
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0] = 0.01
    watch.begin()
    with torch.no_grad():
        layer.weight[0, :32] = 0.08  # over the threshold of 0.05
    movement, _ = watch.end(1.0)
    assert movement is not None
    assert movement.codes_changed == 32 / 4096


@pytest.mark.parametrize("after", range(1, 2 * STEPS + 1))
def test_an_interrupted_epoch_is_watched_as_a_whole_one(
    after: int, straight: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is interrupted; metrics and what moved are those of an undisturbed training."""
    if after < 2 * STEPS:
        stopped(QUANTIZED, tmp_path / "run", after, monkeypatch)
    fit(QUANTIZED, tmp_path / "run", resume=True)
    assert without_seconds(tmp_path / "run") == straight
