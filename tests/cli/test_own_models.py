"""Models of the user on the command line: ``package.module:function``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.analysis.sweeps.store import read_sweep, sweep_folder

Command = Callable[..., tuple[int, str, str]]

CODE = """
import cimsim, torch
from torch import nn
from cimsim.analysis import ModelSubject

torch.manual_seed(0)
x = torch.randn(60, 8)
plain = nn.Sequential(nn.Linear(8, 4))
model = cimsim.calibrate(cimsim.convert(plain, "pcm-ibm-2020"), [x])
labels = plain(x).argmax(-1)

def pair():
    return model, [(x, labels)]

def subject():
    return ModelSubject(model, score, metric="wrong:min", data="60 vectors", calibration=[x])

def score(on_chip):
    return {"wrong": float((on_chip(x).argmax(-1) != labels).float().mean())}

ready = subject()

def no_data():
    return model, score

def digital():
    return plain, [(x, labels)]

def fails():
    return 1 / 0

def number():
    return 3

def alone():
    return model
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working folder."""
    name = "own_models_of_a_test"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_commands_take_a_function_where_they_take_a_run(cimsim: Command, module: str) -> None:
    own = f"{module}:pair"
    code, out, err = cimsim("sweep", own, "--over", "noise=0,8", "--chips", 2)
    assert code == 0, err
    folder = Path("runs") / f"{module}.pair"
    assert "Test accuracy in %, 2 chips" in out
    assert read_sweep(sweep_folder(folder, "noise")).missing == 0
    code, _, err = cimsim("sweep", own, "--over", "noise=0,8", "--chips", 2)
    assert (code, "finished before: 4 of 4" in err) == (0, True)
    code, out, err = cimsim("cost", own, "--store", "elsewhere")
    assert (code, Path("elsewhere/cost/cost.json").is_file()) == (0, True), err
    code, out, err = cimsim("plot", own, "--out", "a.png")
    assert (code, Path("a.png").is_file()) == (0, True), err
    code, out, err = cimsim("report", own, "--out", "a.html")
    assert code == 0, err
    page = Path("a.html").read_text()
    assert "Test accuracy over noise" in page
    assert f"cimsim life {own}" in page
    assert "cannot be shown" not in page


def test_a_subject_or_an_object_is_taken_as_it_is(cimsim: Command, module: str) -> None:
    for name in ("subject", "ready"):
        code, out, err = cimsim("sensitivity", f"{module}:{name}", "--chips", 1, "--store", name)
        assert code == 0, err
        assert Path(name, "sensitivity", "sensitivity_metric=wrong.json").is_file()
        assert "Wrong, 1 chip" in out


@pytest.mark.parametrize(
    "command", [["adapt"], ["sweep", "--over", "adc.bits=4,8"]], ids=lambda command: command[0]
)
def test_without_training_inputs_the_error_says_what_to_return(
    cimsim: Command, module: str, command: list[str]
) -> None:
    name, *options = command
    code, _, err = cimsim(name, f"{module}:pair", *options, "--chips", 1)
    assert code == 2
    wanted = f"let {module}:pair return ModelSubject(model, score, calibration=training_inputs)"
    assert wanted in " ".join(err.split())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "has no 'nothing'"),
        ("no_data", "pass data='…'"),
        ("digital", "has no analog layers"),
        ("fails", "could not be made: "),
        ("number", "returns a int"),
        ("alone", "its score, (model, score)"),
        ("plain", "its score, (model, score)"),
    ],
)
def test_what_is_no_model_is_one_clear_sentence(
    cimsim: Command, module: str, name: str, message: str
) -> None:
    code, _, err = cimsim("sweep", f"{module}:{name}", "--over", "noise=1", "--chips", 1)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert f"own model '{module}:{name}'" in err
    assert not Path("runs").exists()


def test_a_module_must_exist(cimsim: Command, module: str) -> None:
    code, _, err = cimsim("life", "no_such_module_here:subject")
    assert (code, "no module 'no_such_module_here'" in err) == (2, True)
    code, _, err = cimsim("life", "runs/a", "--store", "b")
    assert (code, "--store applies to models named" in err) == (2, True)
