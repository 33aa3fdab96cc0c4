"""Own data on the command line: training, sweeps, studies, reports, trust."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from cimsim.analysis.sweeps.metric import metric_named
from tests.cli.conftest import Command

SPEC = "tests.training.own_data:wine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression with two targets."""
    folder = tmp_path_factory.mktemp("own")
    x, y = load_diabetes(return_X_y=True)
    np.savez(folder / "two.npz", x=x, y=np.stack([y, 1000 - y], axis=1))
    return folder


def test_numbers_from_training_to_report(
    folder: Path, cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    train = ("train", "--profile", "pcm-ibm-2020", "--data", "two.npz:test=0.3", "--out", "run")
    done = cimsim(*train, "--epochs", 3, "--batch-size", 32)
    assert done.code == 0, done.err
    assert "run: test RMSE " in done.out
    assert "epoch 3/3: loss" in done.err
    assert ", RMSE " in done.err
    again = cimsim(*train, "--resume")
    assert "already finished" in again.err
    done = cimsim("sweep", "run", "--over", "noise=0,4", "--chips", 2)
    assert done.code == 0, done.err
    assert "Test RMSE" in done.out
    (file,) = (folder / "run" / "sweeps" / "noise").glob("*.csv")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert {"rmse", "mae", "r2"} <= rows[0].keys()
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["task"] == "regression"
    assert 40 < result["digital_rmse"] < 90  # of a standard deviation of 77
    done = cimsim("sweep", "run", "--over", "noise=0,4", "--chips", 2, "--metric", "r2")
    assert "finished before: 4 of 4 trials" in done.err
    assert "Test R²" in done.out
    done = cimsim("sweep", "run", "--over", "noise=0,4", "--chips", 2, "--metric", "accuracy")
    assert "needs the score 'accuracy', but the model is scored by rmse, mae, r2" in done.err
    assert cimsim("report", "run", "--out", "run.html").code == 0
    page = (folder / "run.html").read_text()
    assert "Training loss and RMSE over epochs" in page
    assert "--data" in page
    assert cimsim("generate", "run").err.strip().endswith("the data set 'two' is not text")


def test_a_compared_regression(
    folder: Path, cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = cimsim(
        *("compare", "--profile", "pcm-ibm-2020", "--data", "two.npz", "--epochs", 1),
        *("--methods", "digital,noise-aware", "--over", "noise=0,2", "--chips", 2, "--out", "all"),
    )
    assert done.code == 0, done.err
    assert "Test RMSE, 2 chips" in done.out
    assert "**" in (folder / "all" / "comparison.md").read_text()


def test_functions_named_in_files_need_trust(
    tmp_path: Path, cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--profile", "ideal", "--epochs", 1)
    assert cimsim("train", *given, "--data", SPEC, "--out", "run").code == 0
    sentence = f"names the data '{SPEC}', a function whose module would be imported"
    commands = [
        ("sweep", "run", "--over", "noise=1", "--chips", 1),
        ("generate", "run"),
        ("tolerance", "run", "--over", "noise", "--chips", 1),
        ("train", *given, "--out", "run", "--resume"),
    ]
    for command in commands:
        assert sentence in cimsim(*command).err, command
    assert cimsim(*commands[0], "--trust").code == 0
    assert cimsim(*commands[-1], "--data", SPEC).code == 0
    (tmp_path / "arms.yaml").write_text(f"theirs: {{data: '{SPEC}'}}")
    arms = ("compare", *given, "--arms", "arms.yaml", "--out", "all", "--chips", 1)
    assert f"arms.yaml: 'theirs' {sentence}" in cimsim(*arms).err


def test_resuming_with_data_that_moved(
    folder: Path, tmp_path: Path, cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "two.npz", tmp_path / "two.npz")
    train = ("train", "--profile", "ideal", "--epochs", 1, "--data", "two.npz", "--out", "run")
    assert cimsim(*train).code == 0
    (tmp_path / "there").mkdir()
    (tmp_path / "two.npz").rename(tmp_path / "there" / "two.npz")
    done = cimsim("train", "--out", "run", "--resume", "--data-dir", "there")
    assert done.code == 0, done.err
    done = cimsim("sweep", "run", "--over", "noise=1", "--chips", 1)
    assert done.code == 0, done.err  # the run keeps the new folder


@pytest.mark.parametrize("name", ["rmse", "mae", "r2"])
def test_errors_of_small_numbers_are_legible(name: str) -> None:
    metric = metric_named(name)
    assert metric.falls == (name != "r2")
    assert float(metric.format(0.001234)) == pytest.approx(0.001234, rel=0.03)


def test_a_model_that_returns_other_targets(
    folder: Path, cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    train = ("train", "--profile", "ideal", "--data", "two.npz", "--out", "other", "--epochs", 1)
    done = cimsim(*train, "--model", "tests.training.own_data:one_output")
    assert "must return (2, 2) for 2 inputs" in done.err
    done = cimsim(*train, "--objective", "cross-entropy")
    assert "objective 'cross-entropy' is for classification and text" in done.err
    assert not (folder / "other").exists()
