"""``cimsim profiles new``: from measurements to a profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.profile import load_profile
from tests.fitting import truth

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return truth.write(tmp_path / "measured.csv", truth.rows(0, cells=40))


def test_a_profile_and_a_picture(cimsim: Command, measured: Path) -> None:
    code, out, err = cimsim("profiles", "new", "mine", "--from-csv", measured)
    assert code == 0
    (note,) = err.splitlines()
    assert note.startswith("cimsim: note: A simulated cell is never below g_min, here 2 uS")
    assert out.splitlines()[-3:] == ["mine.yaml", "mine.png", "mine.svg"]
    assert Path("mine.png").stat().st_size > 10_000
    profile = load_profile(Path("mine.yaml"))
    assert profile.name == "mine"
    assert cimsim("profiles", "validate", "mine.yaml")[0] == 0
    assert cimsim("profiles", "curves", "mine.yaml", "--t", "1s,1d")[0] == 0
    assert cimsim("profiles", "show", "mine.yaml")[0] == 0


def test_the_picture_lies_beside_the_profile(cimsim: Command, measured: Path) -> None:
    Path("devices").mkdir()
    out = "devices/mine.yaml"
    assert cimsim("profiles", "new", "mine", "--from-csv", measured, "--out", out)[0] == 0
    found = sorted(path.name for path in Path("devices").iterdir())
    assert found == ["mine.png", "mine.svg", "mine.yaml"]


def test_tables_show_each_part_of_the_fit(cimsim: Command, measured: Path) -> None:
    _, out, _ = cimsim("profiles", "new", "mine", "--from-csv", measured)
    for title in ("Programming after 1 s", "Change since 1 s", "Read noise"):
        assert f"{title} (µS ± error)" in out


def test_json_holds_values_and_errors(cimsim: Command, measured: Path) -> None:
    code, out, _ = cimsim("profiles", "new", "mine", "--from-csv", measured, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["cells"] == 160
    assert len(found["bias_uS"]) == 4
    assert len(found["changes"]) == 2


def test_what_was_not_measured_is_said(cimsim: Command, tmp_path: Path, measured: Path) -> None:
    fresh = truth.rows(0, cells=40)
    once = fresh[(fresh[:, 2] == 1.0) & (fresh[:, 4] == 0)]
    truth.write(tmp_path / "once.csv", once, "tmt")
    code, _, err = cimsim("profiles", "new", "once", "--from-csv", "once.csv")
    assert code == 0
    assert "note: Drift was not measured" in err
    assert "note: Read noise was not measured" in err
    cell = load_profile(Path("once.yaml")).cell
    assert cell.drift == cell.read_noise == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("my device",), "'my device' is no name for a profile"),
        (("pcm-ibm-2020",), "is a device that comes with cimsim; choose another name"),
        (("mine", "--out", "mine.json"), "mine.json: a profile is a file that ends in .yaml"),
        (("mine", "--like", "nonsense"), "unknown profile 'nonsense'"),
        (("mine", "--like", "sram-charge-jia-2020"), "lays each weight on 3 slices"),
        (("mine", "--figure", "mine.gif"), "give a name ending in .png"),
        (("mine", "--out", "nowhere/mine.yaml"), "cannot write nowhere/mine.yaml"),
        (("mine", "--from-csv", "absent.csv"), "absent.csv: cannot be read"),
    ],
)
def test_senseless_wishes_leave_nothing_behind(
    cimsim: Command, measured: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = cimsim("profiles", "new", "--from-csv", measured, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert [path.name for path in measured.parent.iterdir()] == ["measured.csv"]


def test_nothing_is_overwritten_unless_asked(cimsim: Command, measured: Path) -> None:
    Path("mine.yaml").write_text("precious")
    code, _, err = cimsim("profiles", "new", "mine", "--from-csv", measured)
    assert code == 2
    assert "mine.yaml is there already; give another name, or --force" in err
    assert Path("mine.yaml").read_text() == "precious"
    assert cimsim("profiles", "new", "mine", "--from-csv", measured, "--force")[0] == 0
    assert load_profile(Path("mine.yaml")).name == "mine"
