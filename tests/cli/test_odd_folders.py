"""Every command works in a folder of any name, on terminals of any kind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.children import Start, ended
from tests.cli.conftest import Command

CAFE = os.fsdecode(b"caf\xe9")  # as an old disk or archive has it: no UTF-8
OTHERS = os.path.join(  # one in the other
    "with space",
    "new\nline",
    "100%s $HOME",
    "[red]a[bold] [x]",
    'it\'s "quoted" & <b>',
    "-dash=1",
    "\x1b[31mred",
    "{braces} `id` \\",
    "ü" * 100,
)
TRAIN = ["train", "--data", "digits", "--model", "mlp", "--profile", "pcm-ibm-2020", "--epochs", 1]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, trained: Path) -> Path:
    """A folder of the name that the test is run for, with two runs."""
    place = tmp_path / request.param
    try:
        place.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"this file system has no such names: {error}")
    for name in ("digital", "aware"):
        shutil.copytree(trained / name, place / name)
    return place


def commands(here: Path) -> list[list[object]]:
    """All commands that read or write a folder, each of them in the folder ``here``."""
    run = here / "aware"
    quick = ["--chips", 1]
    return [
        [*TRAIN, "--out", here / "new"],
        [*TRAIN, "--out", here / "new", "--resume"],
        [*TRAIN, "--start", run, "--out", here / "started"],
        ["sweep", run, here / "digital", "--over", "noise=0,1", *quick],
        ["plot", run, here / "digital", "--out", here / "figure.png"],
        ["plot", run, "--out", here / "figure.svg"],
        ["map", run, "--x", "noise=0,1", "--y", "adc.bits=6,8", *quick],
        ["budget", run, *quick],
        ["tolerance", run, "--over", "adc.bits", "--within", 50, *quick],
        ["sensitivity", run, *quick, "--samples", 50],
        ["advise", run, *quick, "--within", 50, "--samples", 50],
        ["life", run, "--points", 2, *quick],
        ["yield", run, "--above", 50, "--chips", 3],
        ["cost", run, "--out", here / "cost.csv"],
        ["report", run, here / "digital", "--out", here / "report.html"],
        ["profiles", "show", run / "profile.yaml"],
        ["profiles", "curves", run / "profile.yaml"],
        ["doctor", "--data-dir", here],
    ]


@pytest.mark.long
@pytest.mark.parametrize("folder", [CAFE], indirect=True, ids=ascii)
def test_all_commands_in_a_folder_that_is_no_utf_8(folder: Path, cimsim: Command) -> None:
    for command in commands(folder):
        code, _, err = cimsim(*command)
        assert code == 0, (command, err)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "caf\\udce9" in page


@pytest.mark.parametrize("folder", [CAFE, OTHERS], indirect=True, ids=["no UTF-8", "others"])
def test_a_command_of_each_kind_in_folders_of_any_name(folder: Path, cimsim: Command) -> None:
    """Training, tables, figures, pages."""
    chosen = ("train", "sweep", "plot", "report", "cost")
    for command in commands(folder):
        if command[0] in chosen and "--start" not in command:
            code, _, err = cimsim(*command)
            assert code == 0, (command, err)


@pytest.mark.parametrize("folder", [CAFE], indirect=True, ids=ascii)
def test_errors_name_what_cannot_be_printed(folder: Path, cimsim: Command) -> None:
    missing = folder / "missing"
    for command in (
        ["cost", missing],
        ["report", folder],
        [*TRAIN, "--out", folder / "aware"],
        ["profiles", "show", f"{missing}.yaml"],
        ["train", "--data", "mnist", "--data-dir", missing, "--profile", "ideal", "--out", "x"],
        ["sweep", missing, "--over", "noise=0"],
        ["compare", "--profile", f"{missing}.yaml", "--methods", "digital", "--out", folder / "c"],
    ):
        code, _, err = cimsim(*command)
        assert code == 2
        assert err.startswith("cimsim: error: "), err
        assert "caf" in err


@pytest.mark.parametrize("command", ["train", "sweep", "cost", "report"])
def test_a_file_in_a_folders_place(
    cimsim: Command, trained: Path, tmp_path: Path, command: str
) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("mine")
    place = obstacle / "deeper"
    arguments: dict[str, list[object]] = {
        "train": [*TRAIN, "--out", place],
        "sweep": ["sweep", place, "--over", "noise=0"],
        "cost": ["cost", trained / "aware", "--out", place / "cost.csv"],
        "report": ["report", trained / "aware", "--out", place / "page.html"],
    }
    code, _, err = cimsim(*arguments[command])
    assert code == 2
    assert err.startswith("cimsim: error: ")
    assert str(place) in err
    assert obstacle.read_text() == "mine"


def test_a_name_that_is_too_long(cimsim: Command, tmp_path: Path) -> None:
    for command in ([*TRAIN, "--out", tmp_path / ("x" * 300)], ["cost", tmp_path / ("x" * 300)]):
        code, _, err = cimsim(*command)
        assert code == 2
        assert err.startswith("cimsim: error: ")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb"},
    ],
    ids=str,
)
@pytest.mark.parametrize("folder", ["ü[red]"], indirect=True)
def test_terminals_of_few_letters(start: Start, folder: Path, environment: dict[str, str]) -> None:
    shown = ("profiles", "show", "aware/profile.yaml")
    costs = ("cost", "aware", "--out", "ü.csv")  # one of them, since it takes many seconds
    words = costs if "PYTHONIOENCODING" in environment else shown
    with start(*words, cwd=folder, **environment) as process:
        _, err = ended(process)
    assert process.returncode == 0, err
    assert (folder / "ü.csv").is_file() == (words == costs)


@pytest.mark.parametrize("command", [["profiles", "show", "ideal"], ["--help"]])
def test_a_reader_that_has_seen_enough(start: Start, tmp_path: Path, command: list[str]) -> None:
    """As in ``cimsim --help | head -1``: nothing is printed, and the exit code is not 0."""
    with start(*command, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None  # else it would be read
        _, err = ended(process)
    assert err == ""
    assert process.returncode == 1


@pytest.mark.long
def test_a_notice_is_given_once_for_all_workers(
    start: Start, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "aware", tmp_path / "aware")
    words = ["sweep", "aware", "--over", "noise=0,1", "--chips", 2, "--workers", 2]
    with start(*words, cwd=tmp_path, CXX="/no/such/c++") as process:
        _, err = ended(process)
    assert process.returncode == 0, err
    assert err.count("/no/such/c++") == 1
    assert "cimsim: note: the CPU kernels could not be built" in err
