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


def test_a_profile_tables_and_a_picture(cimsim: Command, measured: Path) -> None:
    code, out, err = cimsim("profiles", "new", "mine", "--from-csv", measured)
    assert code == 0
    assert err == ""
    assert out.splitlines()[-3:] == ["mine.yaml", "mine.png", "mine.svg"]
    for title in ("Programming after 1 s", "Change since 1 s", "Read noise"):  # of the tables
        assert f"{title}; ± is the standard error" in out
    for heading in ("target (µS)", "bias (µS)", "spread (µS)", "shift (µS)"):
        assert heading in out
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
        (("my device",), "'my device' is not a valid profile name"),
        (("pcm-ibm-2020",), "is a profile that comes with cimsim; choose another name"),
        (("mine", "--out", "mine.json"), "mine.json: the name of a profile file must end in .yaml"),
        (("mine", "--like", "nonsense"), "unknown profile 'nonsense'"),
        (("mine", "--like", "sram-charge-jia-2020"), "stores each weight in 3 slices"),
        (("mine", "--figure", "mine.gif"), "choose a name ending in .png"),
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
    assert "mine.yaml exists; choose another name, or add --force" in err
    assert Path("mine.yaml").read_text() == "precious"
    assert cimsim("profiles", "new", "mine", "--from-csv", measured, "--force")[0] == 0
    assert load_profile(Path("mine.yaml")).name == "mine"


def test_pictures_of_a_killed_command_are_no_obstacle(cimsim: Command, measured: Path) -> None:
    assert cimsim("profiles", "new", "mine", "--from-csv", measured)[0] == 0
    Path("mine.yaml").unlink()  # it comes last
    assert cimsim("profiles", "new", "mine", "--from-csv", measured)[0] == 0
    Path("mine.yaml").unlink()
    Path("mine.svg").write_text("precious")
    code, _, err = cimsim("profiles", "new", "mine", "--from-csv", measured)
    assert code == 2
    assert "mine.svg exists; choose another name, or add --force" in err
    assert not Path("mine.yaml").exists()
    assert Path("mine.svg").read_text() == "precious"


def test_options_for_a_file_that_cannot_be_recognized(cimsim: Command, tmp_path: Path) -> None:
    table = truth.rows(0, cells=20)
    body = "".join(
        f"{g / 1e6:.9g}:{abs(m) / 1e6:.9g}:{t * 1e3:g}:{c:g}\n".replace(".", ",")
        for g, m, t, c, _ in table
    )
    path = tmp_path / "export.txt"
    path.write_bytes(("v1\nG set:G is:when:who\n" + body).encode("utf-16-be"))
    options = (
        *("--column", "g_target_uS=G set", "--column", "g_measured_uS=G is"),
        *("--column", "time_s=when", "--column", "cell=#4"),
        *("--unit", "g_target_uS=S", "--unit", "g_measured=S", "--unit", "time_s=ms"),
        *("--delimiter", ":", "--decimal", ",", "--encoding", "utf-16-be", "--skip-rows", "1"),
        *("--time-tolerance", "0", "--out", tmp_path / "mine.yaml", "--json"),
    )
    code, out, _ = cimsim("profiles", "new", "mine", "--from-csv", path, *options)
    assert code == 0
    found = json.loads(out)
    assert found["targets_uS"] == pytest.approx(truth.TARGETS)
    assert found["fresh_s"] == pytest.approx(1.0)
    assert [change["time_s"] for change in found["changes"]] == pytest.approx(truth.TIMES[1:])


def test_bad_cells_are_shown_listed_and_written(cimsim: Command, measured: Path) -> None:
    table = truth.rows(0, cells=40)
    table[table[:, 3] == 90, 1] = 0.0
    table[7, 1] = 80.0
    path = truth.write(measured.with_name("bad.csv"), table)
    code, out, err = cimsim("profiles", "new", "bad", "--from-csv", path)
    assert code == 0
    assert "Stuck cells\n" in out
    assert "share (%)" in out
    assert "95 % interval (%)" in out
    assert "1 of 160 cells is stuck" in err
    assert "1 outlying read among several of a cell" in err
    (stuck,) = load_profile(Path("bad.yaml")).cell.faults
    assert stuck.kind == "stuck"
    listed = json.loads(cimsim("profiles", "new", "b2", "--from-csv", path, "--json")[1])
    assert len(listed["left_out"]) == 13
    assert {"line": 9, "why": "read"}.items() <= listed["left_out"][0].items()
    assert cimsim("profiles", "new", "all", "--from-csv", path, "--keep-outliers")[0] == 0
    assert load_profile(Path("all.yaml")).cell.faults == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--column", "time_s"), "--column 'time_s' must have the form COLUMN=VALUE"),
        (("--unit", "time_s="), "--unit 'time_s=' must have the form COLUMN=VALUE"),
        (("--unit", "S", "--unit", "nS"), "--unit is given twice; give it once"),
        (("--column", "cell=a", "--column", "cell=b"), "--column is given twice for cell"),
        (("--time-tolerance", "soon"), "--time-tolerance 'soon' must be a share such as 10%"),
    ],
)
def test_options_that_make_no_sense(
    cimsim: Command, measured: Path, options: tuple[str, ...], message: str
) -> None:
    code, out, err = cimsim("profiles", "new", "mine", "--from-csv", measured, *options)
    assert (code, out) == (2, "")
    assert message in err
