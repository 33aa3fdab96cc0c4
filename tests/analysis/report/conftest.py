from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cimsim.training.run import Run


@pytest.fixture(scope="module")
def own(studied: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy for the tests of a module."""
    return Run.open(shutil.copytree(studied, tmp_path_factory.mktemp("reported") / "plain"))
