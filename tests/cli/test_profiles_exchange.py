"""``cimsim profiles import`` and ``export``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cimsim.cli import main
from cimsim.profile import load_profile, validate_file

CONFIG = {
    "forward": {"out_bound": 10.0, "inp_noise": 0.1, "bound_management": "NONE"},
    "mapping": {"weight_scaling_omega": 1.0},
    "noise_model": {"class": "HermesNoiseModel"},
}


def test_a_file_becomes_a_valid_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "theirs.json", tmp_path / "mine.yaml"
    source.write_text(json.dumps(CONFIG))
    assert main(["profiles", "import", str(source), "--out", str(target)]) == 0
    printed = capsys.readouterr()
    assert "forward.inp_noise = 0.1: noise of the inputs has no counterpart" in printed.err
    assert validate_file(target) == []
    profile = load_profile(target)
    assert profile.name == "mine"
    assert profile.cell.g_max_uS == 20.7
    assert main(["profiles", "import", str(source), "--out", str(target)]) == 2
    assert "exists; choose another name, or add --force" in capsys.readouterr().err


def test_notes_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "theirs.json"
    source.write_text(json.dumps(CONFIG))
    out = str(tmp_path / "mine.yaml")
    assert main(["profiles", "import", str(source), "--out", out, "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)
    assert {"forward.inp_noise", "forward.noise_management"} == {note["field"] for note in notes}


def test_an_object_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_configs.py").write_text(
        f"config = {CONFIG!r}\n\ndef make():\n    return config\n\ndef broken():\n    return 1 / 0\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name in ("config", "make"):
        assert main(["profiles", "import", f"my_configs:{name}", "--out", f"{name}.yaml"]) == 0
    assert validate_file(tmp_path / "make.yaml") == []
    assert main(["profiles", "import", "my_configs:broken"]) == 2
    assert main(["profiles", "import", "my_configs:absent"]) == 2
    errors = capsys.readouterr().err
    assert "my_configs:broken failed (ZeroDivisionError" in errors
    assert "there is no 'absent' in it" in errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "neither an inference configuration of aihwkit"),
        ('{"device": {}}', "neither an inference configuration of aihwkit"),
    ],
)
def test_a_file_that_is_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    file = tmp_path / "odd.json"
    file.write_text(content)
    assert main(["profiles", "import", str(file), "--out", str(tmp_path / "odd.yaml")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "odd.yaml").exists()


def test_names_that_are_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("something", "no_such_module:config", "none.json"):
        assert main(["profiles", "import", name]) == 2
    errors = capsys.readouterr().err
    assert "'something' is no configuration: name a JSON file" in errors
    assert "cannot import no_such_module" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("library", "ending"), [("aihwkit", ".py"), ("crosssim", ".json")])
def test_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: str, ending: str
) -> None:
    target = tmp_path / f"theirs{ending}"
    arguments = ["profiles", "export", "pcm-ibm-2020", "--to", library, "--out", str(target)]
    assert main(arguments) == 0
    assert "dac.range = mse: becomes max" in capsys.readouterr().err
    if ending == ".py":
        compile(target.read_text(), target.name, "exec")
    else:
        back = tmp_path / "back.yaml"
        assert main(["profiles", "import", str(target), "--out", str(back)]) == 0
        assert load_profile(back).cell.g_max_uS == pytest.approx(25.0)


def test_export_to_another_kind_of_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "theirs.yaml")
    assert main(["profiles", "export", "pcm-ibm-2020", "--to", "aihwkit", "--out", out]) == 2
    assert "must end in .py or .json" in capsys.readouterr().err
