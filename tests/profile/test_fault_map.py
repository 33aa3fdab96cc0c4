"""A fault map comes from a file and stays in the profile."""

from pathlib import Path
from typing import get_args

import pytest

from cimsim.circuits.mapping import Mapping
from cimsim.profile import ArraySpec, FaultMap, ProfileError, dump_profile, load_profile

PROFILE = """\
schema_version: 1
extends: ideal
name: broken
title: with a map
cell:
  faults:
    - kind: map
      file: maps/bad.csv
      source: "assumption: made up for a test"
"""


def write(folder: Path, csv: str | None) -> Path:
    (folder / "maps").mkdir(exist_ok=True)
    if csv is not None:
        (folder / "maps" / "bad.csv").write_text(csv)
    path = folder / "broken.yaml"
    path.write_text(PROFILE)
    return path


def test_the_map_is_read_and_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "row,column,device,g_uS\n0,3,0,25.0\n 7, 1, 1, 0.5\n\n")
    profile = load_profile(path)
    (issue,) = profile.cell.faults
    assert isinstance(issue, FaultMap)
    assert issue.cells == ((0, 3, 0, 25.0), (7, 1, 1, 0.5))
    copy = tmp_path / "elsewhere.yaml"
    copy.write_text(dump_profile(profile))
    assert load_profile(copy) == profile


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        (None, "cannot read the fault map"),
        ("", "bad.csv:1:1: the first line must be row,column,device,g_uS (found nothing)"),
        ("row,col\n1,2\n", "must be row,column,device,g_uS (found row, col)"),
        ("row,column,device,g_uS\n1,2,0\n", "bad.csv:2:1: must contain 4 values, not 3"),
        ("row,column,device,g_uS\n1,2,0,-1\n", "bad.csv:2:1: cell.faults.0.cells.0.3: must"),
        ("row,column,device,g_uS\n1,x,0,1\n", "bad.csv:2:1: cell.faults.0.cells.0.1: must"),
        (
            "row,column,device,g_uS\n1,2,0,5\n1,2,1,5\n1,2,0,7\n",
            "bad.csv:4:1: cell.faults.0.cells.2: row 1, column 2, device 0 already has 5 uS in "
            "this map; remove that entry or this one (7 uS)",
        ),
        ("row,column,device,g_uS\n" + "1,1,0,1\n" * 20_001, "at most 20000 cells, not 20001"),
    ],
)
def test_a_wrong_map_is_refused_at_its_line(tmp_path: Path, csv: str | None, message: str) -> None:
    path = write(tmp_path, csv)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert message in str(caught.value)


def test_a_map_that_is_larger_than_the_tile_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "row,column,device,g_uS\n512,0,0,1.0\n")
    with pytest.raises(ProfileError, match="names row 512, column 0, device 0, but a tile has 512"):
        load_profile(path)


def test_an_entry_that_is_repeated_with_the_same_value_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path, "row,column,device,g_uS\n1,2,0,5\n1,2,0,5.0\n")
    assert load_profile(path).cell.faults


@pytest.mark.parametrize("mapping", get_args(ArraySpec.model_fields["mapping"].annotation))
def test_a_map_names_only_devices_of_the_mapping(mapping: str) -> None:
    changes: dict[str, object] = {"array.mapping": mapping}
    profile = load_profile("ideal", changes)
    devices = Mapping(profile.cell, profile.array).devices

    def with_device(device: int) -> dict[str, object]:
        return {**changes, "cell.faults": [{"kind": "map", "cells": [[0, 0, device, 25.0]]}]}

    for device in range(devices):
        assert load_profile("ideal", with_device(device)).array.devices == devices
    sentence = f"with the mapping '{mapping}', {devices} device"
    with pytest.raises(ProfileError, match=sentence):
        load_profile("ideal", with_device(devices))
