"""Settings that change nothing are mentioned, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cimsim.nn.weights_file import read_tensors
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.methods import METHODS
from cimsim.training.progress import Silent
from cimsim.training.run import MODEL

OTHER: dict[str, Any] = {
    "rule": "C",
    "warmup": 0.5,
    "ramp": 0.9,
    "noise": 3.0,
    "noise_spread": 0.5,
    "age": "1d",
    "clip_sigma": 1.0,
    "gaussian_sigma": 0.2,
    "gaussian_cutoff": 0.5,
    "statistics": "training",
}
"""Another value of each setting of the noise."""


class Notes(Silent):
    """Keeps the remarks."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def trained(folder: Path, **settings: Any) -> tuple[str, list[str]]:
    """The weights as text, and the remarks on all given settings."""
    common = {"profile": "pcm-ibm-2020", "epochs": 2, "batch_size": 20, "limit": 60}
    seen = Notes()
    run = fit(make_config(**{**common, **settings}), folder, progress=seen, named=settings)
    tensors = read_tensors(run.path / MODEL)
    return str({name: tensor.tolist() for name, tensor in tensors.items()}), seen.notes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("profile", ["pcm-ibm-2020", "ideal"])
def test_what_changes_nothing_is_mentioned(method: str, profile: str, tmp_path: Path) -> None:
    """For every method and every setting of the noise, from the weights after training."""
    common = {"method": method, "profile": profile}
    usual, notes = trained(tmp_path / "usual", **common)
    assert notes == []
    for name, value in OTHER.items():
        weights, notes = trained(tmp_path / name, **common, **{name: value})
        mentioned = [
            note.startswith(f"without effect on this training: {name}, ") for note in notes
        ]
        assert mentioned == [True] * (weights == usual), name


def test_only_settings_that_the_user_chose_are_mentioned(tmp_path: Path) -> None:
    seen = Notes()
    config = make_config(profile="ideal", method="digital", noise=3.0, limit=40, epochs=1)
    fit(config, tmp_path / "run", progress=seen, named=("method", "rule"))
    assert seen.notes == [
        "without effect on this training: rule, which method 'digital' does not use"
    ]


@pytest.mark.parametrize(
    ("warmup", "ramp", "size"),
    [(0.9, 0.5, "20 %"), (0.1, 0.9, ""), (0.5, 0.5, ""), (0.0, 1.0, "")],
)
def test_noise_that_does_not_reach_its_size_is_mentioned(
    warmup: float, ramp: float, size: str, tmp_path: Path
) -> None:
    steps = {"epochs": 1, "batch_size": 2, "limit": 20}  # ten of them
    _, notes = trained(tmp_path / "noisy", warmup=warmup, ramp=ramp, **steps)
    assert [note.partition(", because")[0] for note in notes] == (
        [f"the noise ends at {size} of full strength"] if size else []
    )
    _, notes = trained(tmp_path / "digital", method="digital", warmup=warmup, **steps)
    assert notes == ["without effect on this training: warmup, which method 'digital' does not use"]


@pytest.mark.parametrize(
    ("warmup", "ramp", "steps"), [(0.5, 0.0, 1), (1.0, 0.3, 10), (1.0, 0.0, 10), (0.95, 0.0, 10)]
)
def test_a_warm_up_that_is_the_whole_training_is_mentioned(
    warmup: float, ramp: float, steps: int, tmp_path: Path
) -> None:
    few = {"epochs": 1, "batch_size": 20 // steps, "limit": 20, "warmup": warmup, "ramp": ramp}
    expected = [
        f"the whole training is digital, because warmup {warmup:g} includes all of its steps "
        f"({steps}); reduce it"
    ]
    assert trained(tmp_path / "noisy", **few)[1] == expected
    quantized = trained(tmp_path / "quantized", **few, profile="ideal", overrides=("dac.bits=4",))
    assert quantized[1][-1:] == expected  # after a note that ramp has no effect


@pytest.mark.parametrize("settings", [{"profile": "ideal"}, {"noise": 0.0}])
def test_noise_that_is_not_there_does_not_end_early(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    common = {"epochs": 1, "batch_size": 2, "limit": 20, "warmup": 0.9}
    _, notes = trained(tmp_path / "part", **common, **settings)
    assert not any("ends at" in note for note in notes)
    _, notes = trained(tmp_path / "all", **{**common, "warmup": 1.0}, profile="ideal")
    assert notes == []


def test_a_folder_that_is_not_read_is_mentioned(tmp_path: Path) -> None:
    _, notes = trained(tmp_path / "run", epochs=1, data_dir=tmp_path)
    expected = "data_dir, because 'digits' is not read from a folder"
    assert notes == [f"without effect on this training: {expected}"]


@pytest.mark.parametrize("hold_out", [0.0, 0.1])
def test_numbers_beyond_the_data_are_mentioned(hold_out: float, tmp_path: Path) -> None:
    settings = {"hold_out": hold_out, "epochs": 1, "batch_size": 500}
    _, notes = trained(tmp_path / "all", **settings, limit=1437, calibration_batches=3)
    assert notes == []
    _, notes = trained(tmp_path / "more", **settings, limit=1438, calibration_batches=4)
    assert notes == [
        f"without effect on this training: {reason} are used"
        for reason in (
            "limit, because all 1437 training samples of 'digits'",
            "calibration_batches, because all batches of an epoch, 3,",
        )
    ]
