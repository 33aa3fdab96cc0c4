"""Which folders analysis may import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "analysis": ("cimsim.training", "cimsim.runs", "cimsim.cli", "cimsim.integrations"),
    "training": ("cimsim.analysis", "cimsim.runs", "cimsim.cli", "cimsim.integrations"),
}
"""Of each folder, those that it must not import."""


def imported(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrows_point_one_way(folder: str) -> None:
    wrong = {
        (file.relative_to(ROOT).as_posix(), name)
        for file in (ROOT / folder).rglob("*.py")
        for name in imported(file)
        if any(f"{name}.".startswith(f"{other}.") for other in FOLDERS[folder])
    }
    assert wrong == set()


def test_the_measurement_would_notice() -> None:
    assert "cimsim.training.run" in imported(ROOT / "cimsim" / "runs" / "subject.py")


def test_nothing_in_analysis_uses_what_training_attaches_to_cimsim() -> None:
    """``import cimsim`` also leads to everything, by attributes."""
    for file in (ROOT / "analysis").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("cimsim", "training"), file
