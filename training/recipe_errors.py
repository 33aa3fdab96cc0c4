"""Errors about settings that a recipe has set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cimsim.errors import CimsimError
from cimsim.training.config import TrainConfig
from cimsim.training.recipes import recipe


@contextmanager
def naming_recipe(config: TrainConfig) -> Iterator[None]:
    """Within the block, an error about settings of the recipe of ``config`` names the recipe.

    Raises:
        CimsimError: as the block.
    """
    try:
        yield
    except CimsimError as error:
        named = [key for key in _set_by_recipe(config) if re.search(rf"\b{key}\b", str(error))]
        if not named:
            raise
        flags = " and ".join(f"--{key.replace('_', '-')}" for key in named)
        those = "it" if len(named) == 1 else "them"
        raise CimsimError(
            f"{error}; recipe '{config.recipe}' sets {' and '.join(named)}, use {flags} to "
            f"override {those}"
        ) from error


def _set_by_recipe(config: TrainConfig) -> list[str]:
    """The settings that have the values of the recipe, and not their defaults."""
    fields = type(config).model_fields
    chosen = {} if config.recipe is None else recipe(config.recipe)
    return [
        key
        for key, value in chosen.items()
        if getattr(config, key) == value != fields[key].get_default()
    ]
