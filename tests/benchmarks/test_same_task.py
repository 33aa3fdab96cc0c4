"""The line counts of the benchmark of three libraries are what a person counts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.same_task.__main__ import HERE, PROGRAMS, Outcome, lines_of, page


def test_lines_with_code_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        '"""What it does,\nin two lines."""\n\n'
        "import math\n"
        "from os import (\n    path,  # a comment\n    sep,\n)\n"
        "from benchmarks.same_task.task import (\n    CHIPS,\n)\n\n"
        "# a comment\n"
        "for i in range(3):  # another\n"
        "    print(\n        i,\n\n        math.pi,\n    )\n"
    )
    assert lines_of(file) == (10, 5)


def test_programs_that_did_not_run_are_listed() -> None:
    ran = Outcome(12.4, [97.0, 96.5, 96.0, 95.0, 94.0], [0.0, 0.1, 0.2, 0.3, 0.4])
    text = page({PROGRAMS[0]: ran, PROGRAMS[1]: None})
    ours, theirs = (lines_of(HERE / f"{p.name}.py") for p in PROGRAMS[:2])
    assert f"| {ours.all} | {ours.imports} | 12 |" in text
    assert f"| {theirs.all} | {theirs.imports} | not run here |" in text
    assert "| cimsim | 97.00 ± 0.00 | 96.50 ± 0.10 |" in text
    assert text.count("| not run here ") == 6
