"""The script runs, on something small; what it finds is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks import gpt2


def test_the_tiny_table_and_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    command = ["--tiny", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    gpt2.main([*command, "--out", str(tmp_path / "one.md")])
    text = (tmp_path / "one.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [arm.name for arm in gpt2.ARMS]
    digital = {row.split(" | ")[1] for row in rows}
    assert len(digital) > 4  # every training does something, and starts from the same weights
    assert text.count(" ± ") == 3 * len(rows) + 1
    assert "step 0 of 3" in capsys.readouterr().out
    gpt2.main([*command, "--out", str(tmp_path / "two.md")])
    assert (tmp_path / "two.md").read_text() == text
    assert "step 0" not in capsys.readouterr().out


def test_windows_hold_every_token_once_and_the_next() -> None:
    windows = gpt2._windows(torch.arange(24), 5)
    assert windows[:, :-1].flatten().tolist() == list(range(20))
    assert windows[:, 1:].flatten().tolist() == list(range(1, 21))


def test_what_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpt2.main(["--tiny"])
    assert "--out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="give the folder of a copy by --weights"):
        gpt2.main(["--weights", str(tmp_path), "--data-dir", str(tmp_path), "--device", "cpu"])


def test_losses_are_those_of_the_model(tmp_path: Path) -> None:
    command = ["--tiny", "--device", "cpu", "--runs", str(tmp_path), "--out", str(tmp_path / "o")]
    gpt2.main([*command, "--arm", gpt2.ARMS[0].name])
    (kept,) = tmp_path.glob("*.json")
    found = json.loads(kept.read_text())
    assert found["digital"] == pytest.approx(torch.tensor(256.0).log().item(), rel=0.05)
    assert [len(chips) for chips in found["chips"]] == [2, 2, 2]
    assert not (tmp_path / "o").exists()
