"""Data flows one way: a folder imports only folders to its left in docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From left to right; folders of one group do not import each other.
GROUPS = (
    {"profile"},
    {"fitting", "kernels"},
    {"physics", "circuits"},
    {"array"},
    {"estimators", "quantizers"},
    {"nn"},
    {"adaptation"},
    {"exchange", "analysis", "training"},
    {"models", "runs", "integrations"},
    {"app"},
    {"cli"},
)
PLACE = {name: place for place, group in enumerate(GROUPS) for name in sorted(group)}
TOP_LEVEL = {"analysis", "training"}


def folder(name: str) -> Path:
    return ROOT / name if name in TOP_LEVEL else ROOT / "cimsim" / name


def imports(path: Path) -> set[str]:
    """The folders that the module at ``path`` imports, at once, later or for types."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == "cimsim" and len(part) > 1} & PLACE.keys()


def test_every_folder_has_a_place() -> None:
    packages = {path.parent.name for path in (ROOT / "cimsim").glob("*/__init__.py")}
    assert packages - {"device_profiles"} == PLACE.keys()


@pytest.mark.parametrize("name", PLACE)
def test_a_folder_imports_only_what_is_to_its_left(name: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {other}"
        for path in folder(name).rglob("*.py")
        for other in imports(path) - {name}
        if PLACE[other] >= PLACE[name]
    }
    assert not wrong
