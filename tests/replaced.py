"""Modules with other functions."""

from __future__ import annotations

from typing import Any


class Replaced:
    """A module with other functions."""

    def __init__(self, module: Any, **functions: Any) -> None:
        self._module, self._functions = module, functions

    def __getattr__(self, name: str) -> Any:
        return self._functions.get(name) or getattr(self._module, name)
