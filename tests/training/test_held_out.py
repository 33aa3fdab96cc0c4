"""Trainings that hold samples out, and their evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import cimsim
from cimsim.analysis import Evaluation, parse_axis, sweep
from cimsim.analysis.sweeps import engine
from cimsim.errors import CimsimError
from cimsim.profile import fingerprint
from cimsim.runs import open_run
from cimsim.training import plan as plan_module
from cimsim.training import run as run_module
from cimsim.training.config import LATER
from cimsim.training.data import load_data
from cimsim.training.fit import fit
from cimsim.training.held_out import chip_of
from cimsim.training.manifest import hash_of
from cimsim.training.plan import PLACES, TrainingPlan
from cimsim.training.run import calibration_batches, training_samples
from tests.replaced import Replaced
from tests.training.small import small, stopped

AXIS = parse_axis("noise=1,2")


def metrics_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held") / "run"
    return fit(small(limit=200, hold_out=0.3, batch_size=70), folder).path


def test_what_is_held_out_is_neither_trained_on_nor_calibrated_with() -> None:
    plan = TrainingPlan.load(small(limit=200, hold_out=0.3, batch_size=70))
    x, y = training_samples(plan.config, plan.data)
    assert len(x) == len(y) == 140
    held, _ = plan.data.part("held-out")
    for batch in (x, *calibration_batches(plan.config, plan.data, "cpu")):
        same = (batch.flatten(1)[:, None] == held.flatten(1)[None]).all(2)
        assert not same.any()


@pytest.mark.parametrize("method", ["digital", "noise-aware"])
def test_the_metrics_change_no_weights(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(limit=200, hold_out=0.3, batch_size=70, method=method, average=0.9)
    one = fit(settings, tmp_path / "one")
    lines = metrics_of(one.path)
    assert all(0 < line["held_out_accuracy"] <= 1 for line in lines)
    assert all(0 < line["held_out_chip_accuracy"] <= 1 for line in lines)
    assert {"held_out_loss", "held_out_chip_loss"} <= lines[-1].keys()
    with monkeypatch.context() as patch:
        patch.setattr("cimsim.training.trainer.held_out_metrics", lambda trainer: {})
        two = fit(settings, tmp_path / "two")
    assert not any(name.startswith("held_out") for name in metrics_of(two.path)[-1])
    weights = [load_file(run.path / "model.safetensors") for run in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_last_metrics_are_the_scores_of_the_run(tmp_path: Path) -> None:
    settings = small(limit=200, hold_out=0.3, batch_size=70, method="digital", epochs=1)
    run = fit(settings, tmp_path / "run")
    scores = open_run(run.path, split="held-out").digital_scores()
    assert metrics_of(run.path)[-1]["held_out_accuracy"] == scores["accuracy"]


def test_stopped_and_resumed_it_is_the_same_run(
    held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(limit=200, hold_out=0.3, batch_size=70)
    stopped(settings, tmp_path / "run", 3, monkeypatch)
    again = fit(settings, tmp_path / "run", resume=True)
    assert (again.path / "model.safetensors").read_bytes() == (
        held / "model.safetensors"
    ).read_bytes()


def test_text_and_numbers_have_metrics_too(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    settings = {"limit": None, "hold_out": 0.2, "batch_size": 40, "epochs": 1}
    run = fit(small(data=str(text), model="lstm", method="digital", **settings), tmp_path / "text")
    assert metrics_of(run.path)[-1]["held_out_loss"] > 0
    table = tmp_path / "table.csv"
    table.write_text("\n".join(f"{i},{(7 * i) % 11},{0.5 * i}" for i in range(200)))
    run = fit(small(data=str(table), **settings), tmp_path / "table")
    assert metrics_of(run.path)[-1]["held_out_chip_rmse"] > 0


def test_choices_and_reports_share_neither_chips_nor_samples_nor_files(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def program(model: Any, seed: int = 0, **given: Any) -> Any:
        seen.append(seed)
        return cimsim.program(model, seed, **given)

    monkeypatch.setattr(engine, "cimsim", Replaced(cimsim, program=program))
    for split in ("test", "held-out"):
        subject = open_run(held, split=split)  # type: ignore[arg-type]
        (swept,) = sweep([subject], AXIS, Evaluation(2))
        assert swept.plan.split == split
    assert seen == [0, 1, 0, 1, *([chip_of("held-out", n) for n in (0, 1)] * 2)]
    assert {p.relative_to(held).as_posix() for p in held.rglob("results.jsonl")} == {
        "sweeps/noise/results.jsonl",
        "held-out/sweeps/noise/results.jsonl",
    }
    subjects = [open_run(held), open_run(held, split="held-out")]
    assert [subject.test_samples for subject in subjects] == [360, 60]
    plans = [sweep([subject], AXIS, Evaluation(2))[0].plan for subject in subjects]
    assert plans[0].basis != plans[1].basis
    assert [plan.measured.title for plan in plans] == ["Test accuracy", "Held-out accuracy"]


def test_other_processes_evaluate_the_same_split(held: Path) -> None:
    place = open_run(held, split="held-out").place()
    assert place.open().split == "held-out"


def test_a_run_that_held_nothing_out_says_so(tmp_path: Path) -> None:
    run = fit(small(epochs=1), tmp_path / "run")
    with pytest.raises(CimsimError, match=r"no held-out data; train it with --hold-out 0\.1"):
        open_run(run.path, split="held-out")
    with pytest.raises(CimsimError, match="unknown split 'validation'; available: test, held-out"):
        open_run(run.path, split="validation")  # type: ignore[arg-type]


def test_held_out_scores_use_no_test_sample(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(*args: Any, **given: Any) -> Any:
        data = load_data(*args, **given)
        return replace(data, test_x=torch.full_like(data.test_x, float("nan")))

    expected = open_run(held, split="held-out").digital_scores(50)
    for module in (plan_module, run_module):
        monkeypatch.setattr(module, "load_data", poisoned)
    assert open_run(held, split="held-out").digital_scores(50) == expected


def test_older_runs_keep_their_identity() -> None:
    """So that their checkpoints resume: new settings at their defaults are no part of it."""
    plan = TrainingPlan.load(small(learn_ranges=()))
    settings = plan.config.model_dump(mode="json", exclude={*PLACES, *LATER})
    older = [settings, fingerprint(plan.profile), {}, plan.data.fingerprint]
    assert plan.identity() == hash_of(json.dumps(older, sort_keys=True))
    assert TrainingPlan.load(small(hold_out=0.5)).identity() != plan.identity()
