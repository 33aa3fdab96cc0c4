"""The command as a whole: fast, quiet about its insides, and never a traceback."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cimsim as package
from cimsim.cli import command_line, main

CIMSIM = (sys.executable, "-m", "cimsim")
HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib")


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(command_line, ["--help"])
    assert result.exit_code == 0
    for command in ("train", "sweep", "plot", "profiles", "doctor"):
        assert command in result.stdout


@pytest.mark.parametrize("command", ["train", "sweep", "plot", "profiles", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(command_line, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize(
    "args", [["--help"], ["profiles"], ["profiles", "show", "ideal"], ["train", "--help"]]
)
def test_light_commands_import_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from cimsim.cli import main\n"
        f"try: main({args!r})\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_version(cimsim: Callable[..., tuple[int, str, str]]) -> None:
    assert cimsim("--version") == (0, f"cimsim {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "--epoch", "3"], "--epochs"),
        (["sweep", "runs/a"], "--over"),
        (["sweep", "runs/a", "--over", "noise=1", "--chips", "0"], "--chips"),
        (["sweep", "--over", "noise=1"], "Missing argument"),
        (["plot"], "Missing argument"),
    ],
)
def test_wrong_usage_is_told(
    cimsim: Callable[..., tuple[int, str, str]], args: list[str], told: str
) -> None:
    code, out, err = cimsim(*args)
    assert (code, out) == (2, "")
    assert told in err


def test_an_error_of_the_system_is_no_traceback(
    cimsim: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", "runs/a/results.jsonl")

    monkeypatch.setattr("cimsim.profile.profile_names", full)
    code, _, err = cimsim("profiles")
    assert (code, err) == (2, "cimsim: error: runs/a/results.jsonl: No space left on device\n")


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cimsim.profile.profile_names", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["profiles"])


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m cimsim profiles schema | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("{")
    assert done.stderr == ""
