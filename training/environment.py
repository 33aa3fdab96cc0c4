"""Versions, machine and command line, recorded with every run."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from cimsim import __version__

_PACKAGES = ("numpy", "scipy", "pydantic", "safetensors", "scikit-learn")


def environment() -> dict[str, Any]:
    """Return the content of a run's ``env.json``."""
    return {
        "cimsim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"torch": torch.__version__, **{name: _version(name) for name in _PACKAGES}},
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
