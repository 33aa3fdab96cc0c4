"""What only asks or lists must answer at once: it may not import the heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "safetensors")


def heavy_modules_after(code: str) -> set[str]:
    """Which of the heavy libraries a fresh Python has loaded after running ``code``."""
    report = f"import sys; print('heavy:', *sys.modules.keys() & set({HEAVY}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "module", ["cimsim", "cimsim.errors", "cimsim.seeds", "cimsim.units", "cimsim.profile"]
)
def test_light_modules(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["sweep", "--help"],
        ["sensitivity", "--help"],
        ["advise", "--help"],
        ["plot", "--help"],
        ["map", "--help"],
        ["budget", "--help"],
        ["life", "--help"],
        ["adapt", "--help"],
        ["yield", "--help"],
        ["models"],
        ["profiles"],
        ["profiles", "show", "pcm-ibm-2020"],
        ["profiles", "schema"],
    ],
    ids=" ".join,
)
def test_light_commands(arguments: list[str]) -> None:
    code = f"""
from cimsim.cli import main
try:
    main({arguments})
except SystemExit:
    pass
"""
    assert heavy_modules_after(code) == set()


def test_the_measurement_would_notice() -> None:
    assert "numpy" in heavy_modules_after("import numpy")


def test_folders_are_there_without_an_import_of_their_own() -> None:
    code = "import cimsim; print(cimsim.circuits.effective_conductance.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "effective_conductance", done.stderr


def test_calibrating_and_training_and_reading_runs_loads_no_compiler() -> None:
    """``torch._dynamo`` takes seconds to load, in every process of a sweep."""
    code = """
import sys, torch, cimsim, cimsim.analysis.sweeps.sweep, cimsim.training.run
model = cimsim.convert(torch.nn.Linear(4, 2), "pcm-ibm-2020")
cimsim.calibrate(model, [torch.rand(8, 4)])
model(torch.rand(8, 4)).sum().backward()
print("torch._dynamo" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]
