"""A run folder that somebody sends runs no code of its own, whichever command opens it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cimsim.cli import command_line
from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.manifest import SUMS
from cimsim.training.run import Run

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
SPEC = "gift.readme:build"
CODE = """
from pathlib import Path
Path("RAN").touch()
from torch import nn
def build(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
MORE = {  # what a command wants beside the run
    "sweep": ["--over", "noise=1", "--chips", "1"],
    "map": ["--x", "noise=1", "--y", "adc.bits=4", "--chips", "1"],
    "tolerance": ["--over", "noise", "--chips", "1"],
    "budget": ["--chips", "1"],
    "sensitivity": ["--chips", "1", "--samples", "20"],
    "advise": ["--chips", "1", "--samples", "20"],
    "explore": ["--over", "adc.bits=4,6", "--chips", "1", "--final-chips", "1"],
    "life": ["--chips", "1", "--points", "2"],
    "adapt": ["--chips", "1", "--budget", "2"],
    "yield": ["--above", "50", "--chips", "1"],
    "cost": [],
    "plot": ["--over", "noise"],
    "report": [],
    "generate": ["--prompt", "a"],
    "app": ["--no-browser", "--port", "0"],
}
NO_RUN = {"train", "compare", "methods", "models", "doctor"}  # the first two: tested below


def commands() -> dict[str, object]:
    group: Any = typer.main.get_command(command_line)
    group.import_all()
    return {n: c for n, c in group.commands.items() if n != "profiles"}


@pytest.fixture(scope="session")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``gift`` with a finished run, whose model is a function in that folder."""
    folder = tmp_path_factory.mktemp("sent")
    run = fit(make_config(profile="pcm-ibm-2020", epochs=1, limit=100), folder / "gift")
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("model: mlp", f"model: {SPEC}"))
    (run.path / SUMS).unlink()  # whoever sends a run can make hashes, or leave them out
    (run.path / "readme.py").write_text(CODE)
    return folder


@pytest.fixture
def here(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, in which the gift lies."""
    shutil.copytree(sent / "gift", tmp_path / "gift")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as `python -c` and notebooks have it
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "gift"]:
        del sys.modules[name]


def test_every_command_that_opens_runs_is_tried() -> None:
    assert set(commands()) == set(MORE) | NO_RUN


@pytest.mark.parametrize("name", MORE)
def test_no_command_runs_it(name: str, here: Path, cimsim: Command) -> None:
    code, out, err = cimsim(name, "gift", *MORE[name])
    assert not (here / "RAN").exists()
    if name == "report":  # a page of what can be shown without the model
        assert code == 0
        assert "add --trust" in (here / "report.html").read_text()
    elif name not in ("plot", "generate"):  # those end before: no sweep, no text
        assert (code, out) == (2, "")
        assert f"the run in gift names the model '{SPEC}'" in err
        assert "add --trust" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["sweep", "cost", "report"])
def test_with_trust_it_is_opened(name: str, here: Path, cimsim: Command) -> None:
    # Its weights are those of another model, which is not what is asked here.
    cimsim(name, "gift", *MORE[name], "--trust")
    assert (here / "RAN").exists()


@pytest.mark.parametrize("name", sorted(set(MORE) - {"plot"}))
def test_every_command_has_the_option(name: str) -> None:
    options = {o for p in commands()[name].params for o in p.opts}  # type: ignore[attr-defined]
    assert "--trust" in options


def test_training_resumes_no_model_that_only_the_folder_names(here: Path, cimsim: Command) -> None:
    (here / "gift" / "result.json").unlink()
    resume = ("train", "--resume", "--out", "gift", "--device", "cpu")
    code, _, err = cimsim(*resume)
    assert (code, (here / "RAN").exists()) == (2, False)
    assert "add --trust" in err
    code, _, err = cimsim(*resume, "--model", SPEC)
    assert (code, (here / "RAN").exists()) == (0, True), err


def test_training_learns_from_no_teacher_of_that_kind(here: Path, cimsim: Command) -> None:
    train = ("train", "--profile", "ideal", "--limit", 100, "--epochs", 1, "--out", "new")
    code, _, err = cimsim(*train, "--objective", "distill:teacher=gift")
    assert (code, (here / "RAN").exists()) == (2, False)
    assert "the run in gift names the model" in err
    assert not (here / "new").exists()


def test_weights_of_such_a_run_can_be_begun_with(here: Path, cimsim: Command) -> None:
    train = ("train", "--profile", "ideal", "--limit", 100, "--epochs", 1, "--out", "new")
    assert cimsim(*train, "--start", "gift")[0] == 0
    assert not (here / "RAN").exists()


def test_arms_of_a_file_are_not_imported(here: Path, cimsim: Command) -> None:
    (here / "arms.yaml").write_text(f"theirs: {{model: '{SPEC}', epochs: 1, limit: 100}}")
    arms = ("compare", "--profile", "ideal", "--arms", "arms.yaml", "--out", "all", "--chips", 1)
    code, _, err = cimsim(*arms)
    assert (code, (here / "RAN").exists()) == (2, False)
    assert f"arms.yaml: 'theirs' names the model '{SPEC}'" in err
    code, _, err = cimsim(*arms, "--model", SPEC, "--over", "noise=1")
    assert (code, (here / "RAN").exists()) == (0, True), err


def test_python_asks_too(here: Path) -> None:
    run = Run.open("gift")
    for use in (run.new_model, run.chip_model, lambda: run.digital_scores(5)):
        with pytest.raises(CimsimError, match="trust=True"):
            use()
    assert not (here / "RAN").exists()
    assert Run.open("gift", trust=True).new_model() is not None


@pytest.mark.usefixtures("forked_workers")
def test_a_model_that_is_typed_is_found_in_the_working_folder(here: Path, cimsim: Command) -> None:
    train = ("train", "--profile", "ideal", "--limit", 100, "--epochs", 1, "--model", SPEC)
    assert cimsim(*train, "--out", "own")[0] == 0
    assert cimsim("sweep", "own", *MORE["sweep"])[0] == 2
    assert cimsim("sweep", "own", *MORE["sweep"], "--trust", "--workers", 2)[0] == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python has no safe path")
def test_modules_of_the_working_folder_hide_none(tmp_path: Path) -> None:
    """Also where the command is started as ``python -m cimsim``, and in its workers."""
    fit(make_config(profile="pcm-ibm-2020", epochs=1, limit=100), tmp_path / "run")
    for name in ("yaml", "rich", "random", "pickle", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text(f"open('RAN', 'a').write('{name} ')")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cimsim", "sweep", "run", *MORE["sweep"], "--workers", "2"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()
    assert done.returncode == 0, done.stderr
