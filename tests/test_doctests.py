"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"cimsim": "cimsim", "training": "cimsim.training", "analysis": "cimsim.analysis"}


def modules_with_examples() -> list[str]:
    return sorted(
        ".".join((package, *file.relative_to(ROOT / folder).with_suffix("").parts))
        for folder, package in FOLDERS.items()
        for file in (ROOT / folder).rglob("*.py")
        if ">>> " in file.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name: str) -> None:
    module = importlib.import_module(name.removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
