"""Runs logged to TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.errors import CimsimError
from cimsim.training import tracking
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.progress import Several, Silent
from cimsim.training.tracking import TensorBoard, make_tracker


class Stop(Exception):
    """Ends a training in its middle."""


class Stopping(Silent):
    """Ends a training in its second epoch."""

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Stop."""
        if epoch == 1:
            raise Stop


def logged(folder: Path) -> dict[str, list[int]]:
    """The steps of every curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [e.step for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.filterwarnings("default")  # of TensorBoard and what it imports
def test_a_resumed_run_continues_its_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    config, run = make_config(profile="ideal", epochs=3, limit=400, batch_size=40), tmp_path / "run"
    tracker = make_tracker("tensorboard", run)
    with pytest.raises(Stop):
        fit(config, run, progress=Several(tracker, Stopping()))
    tracker.close()
    again = TensorBoard(run)
    fit(config, run, resume=True, progress=again)
    again.close()
    curves = logged(run / "tensorboard")
    assert curves["epoch/train_loss"] == [10, 20, 30]
    assert curves["running/loss"] == [10, 20, 30]
    assert "epoch/train_accuracy" in curves


def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(CimsimError, match="pip install tensorboard"):
        make_tracker("tensorboard", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="did you mean 'tensorboard'"):
        make_tracker("tensorbord", tmp_path)
