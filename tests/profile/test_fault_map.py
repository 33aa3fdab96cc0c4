"""A fault map comes from a file and stays in the profile."""

from pathlib import Path

import pytest

from cimsim.profile import FaultMap, ProfileError, dump_profile, load_profile

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
        ("row,column,device,g_uS\n1,2,0\n", "bad.csv:2:1: must hold 4 values, not 3"),
        ("row,column,device,g_uS\n1,2,0,-1\n", "bad.csv:2:1: cell.faults.0.cells.0.3: must"),
        ("row,column,device,g_uS\n1,x,0,1\n", "bad.csv:2:1: cell.faults.0.cells.0.1: must"),
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
