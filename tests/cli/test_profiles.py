from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.profile import profile_names, profile_path

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("args", [["profiles"], ["profiles", "list"]])
def test_profiles_are_listed(cimsim: Command, args: list[str]) -> None:
    code, out, err = cimsim(*args)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["name", *profile_names()]


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_is_explained_with_units_and_sources(cimsim: Command, name: str) -> None:
    code, out, err = cimsim("profiles", "show", name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}\n")
    assert "g_max_uS" in out
    assert "µS" in out
    assert "source" in out


def test_a_changed_value_is_marked(cimsim: Command) -> None:
    _, out, _ = cimsim("profiles", "show", "pcm-ibm-2020", "--set", "adc.bits=4")
    assert "set by hand" in out


def test_equations_are_shown(cimsim: Command) -> None:
    assert "xi ~ N(0, 1)" in cimsim("profiles", "show", "pcm-ibm-2020")[1]


def test_an_unknown_profile_has_a_suggestion(cimsim: Command) -> None:
    code, out, err = cimsim("profiles", "show", "pcm-ibm-2002")
    assert (code, out) == (2, "")
    assert err.startswith("cimsim: error: ")
    assert "did you mean 'pcm-ibm-2020'?" in err
    assert err.count("\n") == 1


def test_good_files_are_ok(cimsim: Command) -> None:
    files = [profile_path(name) for name in profile_names()]
    assert cimsim("profiles", "validate", *files) == (0, "".join(f"{f}: ok\n" for f in files), "")


def test_every_fault_of_every_file_is_located(cimsim: Command, tmp_path: Path) -> None:
    text = profile_path("pcm-ibm-2020").read_text()
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("g_max_uS:", "g_maxi_uS:").replace("rows: 512", "rows: many"))
    good = profile_path("ideal")
    code, out, err = cimsim("profiles", "validate", bad, good, tmp_path / "none.yaml")
    assert (code, err) == (2, "")
    faults = [line for line in out.splitlines() if line.startswith(f"{bad}:")]
    assert any("did you mean 'g_max_uS'?" in fault for fault in faults)
    assert any("rows" in fault for fault in faults)
    assert all(fault.removeprefix(f"{bad}:").split(":")[0].isdigit() for fault in faults)
    assert f"{good}: ok" in out
    assert f"{tmp_path / 'none.yaml'}: " in out


def test_the_schema_is_json(cimsim: Command) -> None:
    assert json.loads(cimsim("profiles", "schema")[1])["title"] == "Profile"
