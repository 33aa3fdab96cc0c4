"""``cimsim budget`` on a small run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "digital", tmp_path / "digital")


def test_a_table_and_a_picture(cimsim: Command, run: Path) -> None:
    code, out, err = cimsim("budget", run, "--chips", 2, "--noise", 8, "--age", "1 day")
    assert code == 0, err
    assert (
        "Test accuracy in %, 2 chips, 1 d after programming, 8 times the noise; digital 82.78"
        in out
    )
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    names = [row[0].strip() for row in rows]
    assert (names[0], names[-1]) == ("none", "all")
    assert set(names[1:-1]) == {
        "programming noise",
        "drift",
        "1/f read noise",
        "DAC resolution",
        "ADC resolution",
    }
    assert (run / "budget" / "budget_noise=8.png").stat().st_size > 10_000
    assert (run / "budget" / "budget_noise=8.svg").exists()
    assert not (run / "sweeps").exists()  # it is no axis to draw over


def test_it_goes_on_where_it_was_and_adds_chips(cimsim: Command, run: Path) -> None:
    assert cimsim("budget", run, "--chips", 1)[0] == 0
    code, out, err = cimsim("budget", run, "--chips", 2, "--json")
    assert code == 0
    assert "finished before: 12 of 24 trials" in err
    found = json.loads(out)
    assert found["facts"]["age_s"] == 86400
    assert len(found["shares"]) == 5
    lost = [share["lost"]["mean"] for share in found["shares"]]
    assert lost == sorted(lost, reverse=True)
    for share in found["shares"]:
        assert share["lost"]["mean"] == pytest.approx(
            found["nothing"]["mean"] - share["alone"]["mean"]
        )
        assert share["gained"]["mean"] == pytest.approx(
            share["rest"]["mean"] - found["everything"]["mean"]
        )


def test_an_ideal_device_has_no_budget(cimsim: Command, tmp_path: Path) -> None:
    options = ["--epochs", "1", "--profile", "ideal", "--out", tmp_path / "ideal"]
    assert cimsim("train", "--method", "digital", *options)[0] == 0
    code, _, err = cimsim("budget", tmp_path / "ideal")
    assert code == 2
    assert "ideal has no non-idealities, so there is nothing to budget" in err


def test_a_folder_that_is_no_run_is_refused(cimsim: Command, tmp_path: Path) -> None:
    code, _, err = cimsim("budget", tmp_path)
    assert code == 2
    assert "is not a run" in err


def test_layers_on_devices_of_their_own_share_one_budget(cimsim: Command, tmp_path: Path) -> None:
    options = ["--epochs", "1", "--profile", "pcm-ibm-2020", "--out", tmp_path / "mixed"]
    layer = ["--layer", "hidden1:profile=mismatch", "--layer", "classifier:digital"]
    assert cimsim("train", "--method", "digital", *options, *layer)[0] == 0
    code, out, err = cimsim("budget", tmp_path / "mixed", "--chips", 1, "--json")
    assert code == 0, err
    names = {share["name"] for share in json.loads(out)["shares"]}
    assert {"cell.programming_noise.relative", "cell.drift.power-law", "adc.bits"} <= names
