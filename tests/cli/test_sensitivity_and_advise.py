"""``cimsim sensitivity`` and ``cimsim advise`` on a small run."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.analysis.studies.sensitivity import STUDY as SENSITIVITY
from cimsim.sealing import unsealed

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "digital", tmp_path / "digital")


def test_a_table_a_picture_and_files(cimsim: Command, run: Path) -> None:
    options = ["--chips", 2, "--noise", 8, "--age", "1h", "--samples", 100]
    code, out, err = cimsim("sensitivity", run, *options)
    assert code == 0, err
    assert (
        "Test accuracy in %, 2 chips, 1 h after programming, 8 times the noise, 100 samples" in out
    )
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    names = [row[0].strip() for row in rows]
    assert (names[0], names[-1]) == ("none", "all")
    assert set(names[1:-1]) == {"hidden1", "hidden2", "classifier"}
    written = [line for line in out.splitlines() if line.startswith(str(run))]
    files = {Path(line).suffix: Path(line) for line in written}
    assert set(files) == {".json", ".csv", ".png", ".svg"}
    assert files[".png"].stat().st_size > 10_000
    assert not (run / "sweeps").exists()  # it is no axis to draw over
    code, out, err = cimsim("sensitivity", run, *options, "--json")
    assert code == 0
    assert "finished before: 16 of 16 trials" in err
    found = SENSITIVITY.read_file(files[".json"])
    assert [layer["name"] for layer in json.loads(out)["layers"]] == names[1:-1]
    assert [layer.name for layer in found.layers] == names[1:-1]
    lost = [layer.lost.mean for layer in found.layers]
    assert lost == sorted(lost, reverse=True)
    for layer in found.layers:
        assert layer.lost.mean == pytest.approx(found.nothing.mean - layer.alone.mean)
        assert layer.gained.mean == pytest.approx(layer.rest.mean - found.everything.mean)


def test_advice_can_be_followed(cimsim: Command, run: Path) -> None:
    options = ["--chips", 2, "--noise", 6, "--samples", 100]
    code, out, err = cimsim("advise", run, *options, "--within", 8)
    assert code == 0, err
    assert "Reached: " in out or "NOT CONFIRMED: " in out
    (line,) = (line for line in out.splitlines() if line.startswith("  --layer"))
    layers = shlex.split(line)
    assert len(layers) >= 2
    code, out, err = cimsim("sweep", run, "--over", "noise=6", "--chips", 2, *layers)
    assert code == 0, err
    follow = ["--profile", "pcm-ibm-2020", "--epochs", 1, "--method", "digital"]
    assert cimsim("train", *follow, *layers, "--out", run.parent / "mixed")[0] == 0
    code, out, err = cimsim("advise", run, *options, "--within", 8, "--json")
    assert code == 0
    found = json.loads(out)
    assert [found["request"]["within"], found["facts"]["run"]] == [0.08, "digital"]
    assert found["chosen"]["mean"] <= 0.08
    assert found["found"] is True
    (written,) = (run / "advice").glob("advice*.json")
    assert unsealed(json.loads(written.read_text())) == found
    assert all("0 of" not in line for line in err.splitlines())  # nothing was evaluated again


def test_nothing_to_advise(cimsim: Command, run: Path) -> None:
    code, out, _ = cimsim("advise", run, "--chips", 1, "--within", 50, "--samples", 50)
    assert code == 0
    assert "chosen: all analog, unchanged" in out
    assert "Reached: " in out
    assert "--layer" not in out


def test_what_cannot_be_reached_is_said(cimsim: Command, run: Path) -> None:
    options = ["--chips", 2, "--noise", 40, "--samples", 100, "--by", "parameters"]
    code, out, _ = cimsim("advise", run, *options, "--within", 0)
    assert code == 0
    assert "NOT REACHED: none of the tried assignments" in out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["sensitivity", ".", "--age", "1 fortnight"], "not a duration"),
        (["sensitivity", ".", "--metric", "acuracy"], "did you mean 'accuracy'"),
        (["sensitivity", ".", "--out", "a.txt"], "choose a name ending in .png"),
        (["advise", ".", "--by", "mac"], "--by must be macs or parameters, not 'mac'"),
        (["advise", ".", "--better", "pcm-ibm-2021"], "did you mean 'pcm-ibm-2020'"),
        (["advise", "nowhere"], "no such folder: nowhere"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    cimsim: Command, run: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], told: str
) -> None:
    monkeypatch.chdir(run)
    few = ["--chips", 1, "--samples", 20]
    code, out, err = cimsim(*args, *few)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if "trials" not in line]
    assert len(lines) == 1
    assert told in lines[0]
