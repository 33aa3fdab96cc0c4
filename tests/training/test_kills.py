"""A few of the kills of ``python -m tests.fuzz.kills``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_killed_ends_as_what_is_not() -> None:
    """In a new process: where autograd has started threads, as an earlier test may have done, torch
    refuses to train in processes that are forked."""
    command = [sys.executable, "-m", "tests.fuzz.kills", "--count", "6", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^(.+): (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts.get("training", 0)) + int(counts.get("sweep", 0)) == 6
    assert int(counts["runs compared"])
