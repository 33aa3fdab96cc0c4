"""A file that is damaged, or means harm, costs the page only what it would have shown."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from cimsim.analysis.report.blocks import Listing, Paragraph, ReportRun, Section
from cimsim.analysis.report.sections import results
from cimsim.runs import RunSubject, reproduce
from cimsim.training.run import Run
from tests.subjects import commands_of, report


@pytest.fixture
def copy(own: Run, tmp_path: Path) -> Run:
    """A run of which everything was measured, to be damaged."""
    shutil.copytree(own.path, tmp_path / "plain")
    (tmp_path / "plain" / "SHA256SUMS").unlink(missing_ok=True)  # as somebody would who means it
    run = Run.open(tmp_path / "plain")
    run.data = own.data
    return run


def texts(section: Section | None) -> str:
    assert section is not None
    return "\n".join(b.text for b in section.blocks if isinstance(b, Paragraph | Listing))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "3",
        '{"packages": 3}',
        '{"command": 3}',
        '{"command": [3, null]}',
        "[" * 99_999,
        "\xff",
    ],
)
def test_any_environment_leaves_the_commands(copy: Run, content: str) -> None:
    (copy.path / "env.json").write_bytes(content.encode("latin-1"))
    found = texts(reproduce.section([ReportRun(0, "plain", RunSubject(copy))]))
    assert "The same versions on the same kind of machine" in found


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "latin-1", "empty"])
def test_further_results_that_are_no_files_leave_the_others(copy: Run, kind: str) -> None:
    extra = copy.path / "extra"
    extra.mkdir()
    (extra / "good.csv").write_text("a,b\n=1+1,2\n")
    bad = extra / "bad.csv"
    if kind == "pipe":
        os.mkfifo(bad)
    elif kind == "folder":
        bad.mkdir()
    elif kind == "/dev/zero":
        bad.symlink_to(kind)
    else:
        bad.write_bytes(b"" if kind == "empty" else b"a\n\xe9\n")
    part = results.section_without([])
    section = part.section([ReportRun(0, "plain", RunSubject(copy))])
    assert section is not None
    assert "good" in str(section)
    assert "'=1+1" in str(section)  # what is saved from the page


def test_one_bad_file_of_each_kind_costs_only_its_own_figure(copy: Run) -> None:
    extra = copy.path / "extra"
    extra.mkdir()
    (extra / "broken.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="x"/>')
    (copy.path / "env.json").write_text("[]")
    damaged = 0
    for path in copy.path.rglob("*.json"):
        if path.name.startswith(("life_", "waterfall_", "map_")):
            found: dict[str, Any] = json.loads(path.read_text())
            found.pop("sha256", None)
            for key, value in found.items():
                if isinstance(value, list) and len(value) > 1:
                    found[key] = value[:-1]  # of the right type, and not as many as the others
                    break
            path.write_text(json.dumps(found))
            damaged += 1
    assert damaged == 3
    page = report([copy])
    assert "its viewBox is" in page
    for title in ("Error budget", "What is tolerated", "Profile", "How to reproduce it"):
        assert title in page
    assert page.count("<svg") > 5


def test_a_run_that_is_called_like_an_option_is_typed_as_a_folder(
    own: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("--help", "-x y", "a\n#b; $(touch x)"):
        shutil.copytree(own.path, tmp_path / name)
        run = Run.open(Path(name))
        run.data = own.data
        commands = list(commands_of(run))
        assert len(commands) > 5
        for command in commands:
            words = shlex.split(command)
            assert not any(word.startswith("#") for word in words[:1])
            assert {"./" + name, name} & set(words)
            assert name not in words or not name.startswith("-")
