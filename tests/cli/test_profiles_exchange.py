"""``cimsim profiles import`` and ``export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.profile import load_profile, validate_file

Command = Callable[..., tuple[int, str, str]]
CONFIG = {
    "forward": {"out_bound": 10.0, "inp_noise": 0.1, "bound_management": "NONE"},
    "mapping": {"weight_scaling_omega": 1.0},
    "noise_model": {"class": "HermesNoiseModel"},
}


def test_a_file_becomes_a_valid_profile(tmp_path: Path, cimsim: Command) -> None:
    source, target = tmp_path / "theirs.json", tmp_path / "mine.yaml"
    source.write_text(json.dumps(CONFIG))
    code, _, err = cimsim("profiles", "import", source, "--out", target)
    assert code == 0
    assert "forward.inp_noise = 0.1: noise of the inputs has no counterpart" in err
    assert validate_file(target) == []
    profile = load_profile(target)
    assert profile.name == "mine"
    assert profile.cell.g_max_uS == 20.7
    code, _, err = cimsim("profiles", "import", source, "--out", target)
    assert code == 2
    assert "exists; choose another name, or add --force" in err


def test_notes_as_json(tmp_path: Path, cimsim: Command) -> None:
    source = tmp_path / "theirs.json"
    source.write_text(json.dumps(CONFIG))
    code, out, _ = cimsim("profiles", "import", source, "--out", tmp_path / "mine.yaml", "--json")
    assert code == 0
    notes = json.loads(out)
    assert {"forward.inp_noise", "forward.noise_management"} == {note["field"] for note in notes}


def test_an_object_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cimsim: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_configs.py").write_text(
        f"config = {CONFIG!r}\n\ndef make():\n    return config\n\n"
        "def broken():\n    return 1 / 0\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name in ("config", "make"):
        assert cimsim("profiles", "import", f"my_configs:{name}", "--out", f"{name}.yaml")[0] == 0
    assert validate_file(tmp_path / "make.yaml") == []
    code, _, err = cimsim("profiles", "import", "my_configs:broken")
    assert code == 2
    assert "'my_configs:broken' failed" in err
    code, _, err = cimsim("profiles", "import", "my_configs:absent")
    assert code == 2
    assert "has no 'absent'" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "neither an inference configuration of aihwkit"),
        ('{"device": {}}', "neither an inference configuration of aihwkit"),
    ],
)
def test_a_file_that_is_no_configuration(
    tmp_path: Path, cimsim: Command, content: str, message: str
) -> None:
    file = tmp_path / "odd.json"
    file.write_text(content)
    code, _, err = cimsim("profiles", "import", file, "--out", tmp_path / "odd.yaml")
    assert code == 2
    assert message in err
    assert not (tmp_path / "odd.yaml").exists()


def test_names_that_are_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cimsim: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    errors = {}
    for name in ("something", "no_such_module:config", "none.json"):
        code, _, errors[name] = cimsim("profiles", "import", name)
        assert code == 2
    assert "'something' is not a configuration: name a JSON file" in errors["something"]
    assert "no module 'no_such_module'" in errors["no_such_module:config"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("library", "ending"), [("aihwkit", ".py"), ("crosssim", ".json")])
def test_export(tmp_path: Path, cimsim: Command, library: str, ending: str) -> None:
    target = tmp_path / f"theirs{ending}"
    code, _, err = cimsim("profiles", "export", "pcm-ibm-2020", "--to", library, "--out", target)
    assert code == 0
    assert "dac.range = mse: becomes max" in err
    if ending == ".py":
        compile(target.read_text(), target.name, "exec")
    else:
        back = tmp_path / "back.yaml"
        assert cimsim("profiles", "import", target, "--out", back)[0] == 0
        assert load_profile(back).cell.g_max_uS == pytest.approx(25.0)


def test_export_to_another_kind_of_file(tmp_path: Path, cimsim: Command) -> None:
    out = tmp_path / "theirs.yaml"
    code, _, err = cimsim("profiles", "export", "pcm-ibm-2020", "--to", "aihwkit", "--out", out)
    assert code == 2
    assert "must end in .py or .json" in err
