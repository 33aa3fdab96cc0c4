from __future__ import annotations

import csv
import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cimsim.analysis.sweeps.store import (
    FileStore,
    Plan,
    Sweep,
    Trial,
    read_sweep,
    sweep_folder,
    swept_axes,
    write_csv,
)
from cimsim.errors import CimsimError
from cimsim.sealing import unsealed
from tests.subjects import trial

PLAN = Plan(
    run="aware",
    profile="pcm",
    axis="adc.bits",
    levels=(None, 4),
    chips=2,
    digital_scores={"accuracy": 0.97},
    basis="b1",
    checkpoint_sha256="c1",
    data="digits",
    device="cpu",
    cimsim="0.1.0",
)


def cell(level: int | None, chip: int, basis: str = "b1", accuracy: float = 0.5) -> Trial:
    return trial(basis, level, chip, accuracy, 1.25)


ALL = [cell(None, 0), cell(None, 1), cell(4, 0), cell(4, 1)]


def fill(folder: Path, cells: list[Trial], plan: Plan = PLAN) -> None:
    with FileStore(folder, plan) as store:
        store.start()
        for each in cells:
            store.append(each)
        store.finish()


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path / "new" / "folder", ALL)
    sweep = read_sweep(tmp_path / "new" / "folder")
    assert sweep.plan == PLAN
    assert list(sweep.trials) == ALL
    assert sweep.missing == 0


def test_lines_are_plain_json_that_names_run_axis_level_and_chip(tmp_path: Path) -> None:
    fill(tmp_path, ALL[:1])
    row = json.loads((tmp_path / "results.jsonl").read_text())
    assert unsealed(row) == {
        "run": "aware",
        "axis": "adc.bits",
        "basis": "b1",
        "level": None,
        "chip": 0,
        "accuracy": 0.5,
        "loss": 1.25,
    }


def test_accuracy_survives_bit_for_bit(tmp_path: Path) -> None:
    fill(tmp_path, [cell(4, 0, accuracy=0.1 + 0.2)])
    assert read_sweep(tmp_path).trials[0].scores["accuracy"] == 0.1 + 0.2


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_loss_that_is_no_number_stays_valid_json(tmp_path: Path, loss: float) -> None:
    fill(tmp_path, [replace(ALL[0], scores={"accuracy": 0.5, "loss": loss})])
    json.loads((tmp_path / "results.jsonl").read_text(), parse_constant=pytest.fail)
    assert str(read_sweep(tmp_path).trials[0].scores["loss"]) == str(loss)


@pytest.mark.parametrize("torn", [1, 10, 60])
def test_a_torn_last_line_is_ignored_then_cut(tmp_path: Path, torn: int) -> None:
    fill(tmp_path, ALL[:3])
    results = tmp_path / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole + whole[:torn])
    assert list(read_sweep(tmp_path).trials) == ALL[:3]
    assert results.read_bytes() == whole + whole[:torn]
    fill(tmp_path, ALL[3:])
    assert results.read_bytes().startswith(whole)
    assert list(read_sweep(tmp_path).trials) == ALL


def test_a_whole_line_without_its_newline_is_evaluated_again(tmp_path: Path) -> None:
    fill(tmp_path, ALL)
    results = tmp_path / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-1])
    assert read_sweep(tmp_path).missing == 1
    with FileStore(tmp_path, PLAN) as store:
        assert ALL[2].key in store
        assert ALL[3].key not in store


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"level": 1}', '"x"', "\x00\x00"])
def test_a_damaged_line_is_told_with_its_number(tmp_path: Path, junk: str) -> None:
    fill(tmp_path, ALL)
    results = tmp_path / "results.jsonl"
    lines = results.read_text().splitlines()
    results.write_text("\n".join([lines[0], junk, *lines[1:], ""]))
    with pytest.raises(CimsimError, match=r"results\.jsonl:2: .* delete the line"):
        read_sweep(tmp_path)
    with pytest.raises(CimsimError, match=r"results\.jsonl:2: "):
        FileStore(tmp_path, PLAN)


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Each either is refused, or changes no cell: a line that lost its end is evaluated again."""
    fill(tmp_path, ALL)
    results = tmp_path / "results.jsonl"
    whole = results.read_bytes()
    chance, refused = random.Random(0), 0
    for bit in chance.sample(range(8 * len(whole)), 200):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        results.write_bytes(bytes(changed))
        try:
            found = read_sweep(tmp_path).trials
        except CimsimError as error:
            assert "delete the line" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert all(each in ALL for each in found)
    assert refused > 180


def test_lines_of_before_there_were_checksums_are_read(tmp_path: Path) -> None:
    fill(tmp_path, ALL)
    results = tmp_path / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    old = [{k: v for k, v in row.items() if k != "sha256"} for row in rows]
    results.write_text("".join(f"{json.dumps(row)}\n" for row in old))
    assert list(read_sweep(tmp_path).trials) == ALL


def test_only_cells_of_the_plan_are_read(tmp_path: Path) -> None:
    others = [cell(4, 0, basis="old", accuracy=0.1), cell(4, 7), cell(9, 0)]
    fill(tmp_path, others + ALL)
    assert list(read_sweep(tmp_path).trials) == ALL


def test_a_second_process_is_kept_out_and_let_in_afterwards(tmp_path: Path) -> None:
    with FileStore(tmp_path, PLAN), pytest.raises(CimsimError, match="another `cimsim sweep`"):
        FileStore(tmp_path, PLAN)
    with FileStore(tmp_path, PLAN):
        pass


def test_the_table_is_long_and_has_units(tmp_path: Path) -> None:
    fill(tmp_path, ALL)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[0] == {
        "run": "aware",
        "profile": "pcm",
        "axis": "adc.bits",
        "unit": "bits",
        "level": "ideal",
        "chip": "0",
        "accuracy": "0.5",
        "loss": "1.25",
        "digital_accuracy": "0.97",
    }


def test_an_unfinished_sweep_writes_no_table(tmp_path: Path) -> None:
    fill(tmp_path, ALL[:3])
    assert not (tmp_path / "results.csv").exists()


def test_tables_of_several_runs_are_merged_under_given_names(tmp_path: Path) -> None:
    fill(tmp_path, ALL)
    sweep = read_sweep(tmp_path)
    write_csv(tmp_path / "all.csv", [sweep, sweep], ["a/aware", "b/aware"])
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["a/aware"] * 4 + ["b/aware"] * 4


def test_times_are_seconds_in_the_table(tmp_path: Path) -> None:
    plan = replace(PLAN, axis="time", levels=(3600.0,), chips=1)
    fill(tmp_path, [trial("b1", 3600.0, 0, 0.5, 1.0)], plan)
    assert "time,s,3600.0,0,0.5" in (tmp_path / "results.csv").read_text()


def test_axes_are_found(tmp_path: Path) -> None:
    fill(tmp_path / "sweeps" / "noise", [])
    fill(tmp_path / "sweeps" / "adc.bits", [])
    (tmp_path / "sweeps" / "empty").mkdir()
    assert swept_axes(tmp_path) == ["adc.bits", "noise"]
    assert swept_axes(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"levels": 3}', "\x00"])
def test_a_damaged_plan_is_told(tmp_path: Path, content: str) -> None:
    fill(tmp_path, ALL)
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(CimsimError, match=r"sweep\.json: is damaged; delete it"):
        read_sweep(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CimsimError, match="cannot create the folder"):
        FileStore(tmp_path / "file" / "noise", PLAN)
    with pytest.raises(CimsimError, match=r"cannot write .*all\.csv"):
        write_csv(tmp_path / "missing" / "all.csv", [])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_protected_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CimsimError, match="Permission denied"):
        FileStore(tmp_path / "noise", PLAN)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cimsim.analysis.sweeps.store._SYNC_S", -1.0)  # to the disk at once
    with FileStore(tmp_path, PLAN) as store:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(CimsimError, match=r"No space left on device.*again to resume"):
            store.append(ALL[0])
        assert ALL[0].key not in store


def test_a_study_has_a_folder_of_its_own_and_no_unit(tmp_path: Path) -> None:
    axis = "maps/noise-by-temperature_C"
    assert sweep_folder(tmp_path, axis) == tmp_path / "maps" / "noise-by-temperature_C"
    assert sweep_folder(tmp_path, "temperature_C") == tmp_path / "sweeps" / "temperature_C"
    level = "[0.5, 85]"
    study = Plan(
        *("run", "profile", axis, (level,), 1, {"accuracy": 0.9}, "b", "c", "data", "cpu", "0")
    )
    write_csv(tmp_path / "cells.csv", [Sweep(study, (trial("b", level, 0, 0.5, 1.0),))])
    row = (tmp_path / "cells.csv").read_text().splitlines()[1]
    assert row.startswith(f'run,profile,{axis},,"[0.5, 85]",0,')
