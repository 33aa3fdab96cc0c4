"""A user without a home folder and without an entry, as containers run things."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cimsim.folders import give_matplotlib_a_folder
from tests.children import ended, started
from tests.cli.conftest import ROOT
from tests.forks import forked

# Runs its arguments as commands, separated by "--then"; there is no entry for any user.
NOBODY = """
import pwd, sys
def gone(user):
    raise KeyError(f"getpwuid(): uid not found: {user}")
pwd.getpwuid = pwd.getpwnam = gone
from cimsim.cli import main
commands = [[]]
for word in sys.argv[1:]:
    commands.append([]) if word == "--then" else commands[-1].append(word)
for command in commands:
    try:
        code = main(command)
    except SystemExit as end:
        code = end.code
    print("ended with", code, file=sys.stderr)
"""
TRAIN = ["train", "--data", "digits", "--model", "mlp", "--profile", "ideal", "--epochs", "1"]


def as_nobody(
    *commands: list[str], cwd: Path, fresh: bool = False, **more: str
) -> tuple[list[str], str]:
    """The exit codes of commands that are run one after the other, and what they print.

    Args:
        commands: the commands.
        cwd: where they are run.
        fresh: whether in a Python that is new, and not where cimsim is imported already.
        more: what is added to the environment.
    """
    homes = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "CIMSIM_DATA", "MPLCONFIGDIR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in homes and not name.startswith("XDG_")
    }
    words = [word for command in commands for word in (*command, "--then")][:-1]
    env = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
    if fresh:
        command = [sys.executable, "-c", NOBODY, *words]
        kinds = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with started(command, cwd=cwd, env=env, **kinds) as (process,):
            printed, _ = ended(process)
    else:
        with forked(_nobody, [(words, cwd, env)]) as (fork,):
            _, printed = ended(fork)
    codes = [line.split()[-1] for line in printed.splitlines() if line.startswith("ended with")]
    return codes, printed


def _nobody(words: list[str], cwd: Path, env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv[1:] = words
    sys.stdout = sys.stderr
    give_matplotlib_a_folder()  # as a new Python does when it imports cimsim.analysis
    exec(NOBODY, {})


@pytest.mark.parametrize(
    "home",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"HOME": "~"},
        {"HOME": ""},
        {"XDG_CACHE_HOME": "cache"},
    ],
    ids=str,
)
def test_everything_works_without_a_home(tmp_path: Path, home: dict[str, str]) -> None:
    """And leaves nothing in the folder that was not asked for, least of all one called ``~``."""
    (tmp_path / "temporary").mkdir()
    here = tmp_path / "here"
    here.mkdir()
    more = [
        ["sweep", "run", "--over", "noise=0,1", "--chips", "1"],
        ["plot", "run", "--out", "figure.png"],
        ["report", "run", "--out", "report.html"],
    ]
    every = home in ({}, {"HOME": "~"})
    commands = [[*TRAIN, "--out", "run"], *(more if every else []), ["doctor"]]
    made = {"figure.png", "figure.svg", "report.html", "run"} if every else {"run"}
    more_env = {"TMPDIR": str(tmp_path / "temporary"), **home}
    if home:
        more_env["CXX"] = "/no/such/c++"  # where kernels are kept is tested with the kernels
    codes, out = as_nobody(*commands, cwd=here, fresh=not home, **more_env)
    assert codes == ["0"] * len(commands), out
    assert "Traceback" not in out
    assert {path.name for path in here.iterdir()} == made
    assert "set a folder with --data-dir or $CIMSIM_DATA" in out


def test_what_needs_a_home_says_so(tmp_path: Path) -> None:
    codes, out = as_nobody(
        ["train", "--data", "mnist", "--profile", "ideal", "--out", "a"],
        ["train", "--data", "mnist", "--data-dir", "~/data", "--profile", "ideal", "--out", "b"],
        ["profiles", "show", "~nobody-at-all/mine.yaml"],
        cwd=tmp_path,
    )
    assert codes == ["2"] * 3, out
    errors = [line for line in out.splitlines() if line.startswith("cimsim: error: ")]
    assert errors == [
        "cimsim: error: this user has no home folder for the data sets; "
        "set a folder with --data-dir or $CIMSIM_DATA",
        "cimsim: error: ~/data: cannot expand ~, this user has no home folder; "
        "use an absolute path",
        "cimsim: error: ~nobody-at-all/mine.yaml: cannot expand ~nobody-at-all, there is no such "
        "user; use an absolute path",
    ]
