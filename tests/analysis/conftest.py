from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.training.config import make_config
from cimsim.training.fit import fit


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never swept; tests copy it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    fit(make_config(profile="pcm-ibm-2020", method="digital", epochs=2), folder)
    return folder
