"""The setting in which tests that hang on last bits are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOK = """
import torch
from cimsim.kernels import cpu
print(torch.backends.cpu.get_cpu_capability())
print(cpu.build().note)
"""


def test_there_is_no_compiler_and_no_vector_instruction() -> None:
    command = [sys.executable, "-m", "tests.portable", sys.executable, "-c", LOOK]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    capability, note = run.stdout.splitlines()
    assert capability == "DEFAULT"
    assert note.startswith("no C++ compiler was found")


def test_the_exit_status_is_that_of_the_command() -> None:
    command = [sys.executable, "-m", "tests.portable", sys.executable, "-c", "raise SystemExit(3)"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 3
