"""Errors about settings of a recipe name the recipe."""

from __future__ import annotations

from typing import Any

import pytest

from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.fit import check

SMALL: dict[str, Any] = {"epochs": 1, "limit": 60, "batch_size": 20}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"recipe": "llm", "profile": "ideal"},
            "the converter is ideal in the profile ideal; leave dac out (none learns no range), or "
            "set dac.bits; recipe 'llm' sets learn_ranges, use --learn-ranges to override it",
        ),
        (
            {"recipe": "llm", "profile": "pcm-ibm-2020"},
            "`cimsim models`; recipe 'llm' sets objective, use --objective to override it",
        ),
        (
            {"recipe": "llm", "profile": "pcm-ibm-2020", "overrides": ("dac.range.kind=max",)},
            "or leave out dac.range.kind=max; recipe 'llm' sets learn_ranges, use --learn-ranges "
            "to override it",
        ),
        (
            {"recipe": "robust", "profile": "ideal", "optimizer": "ternary-chain"},
            "recipe 'robust' sets clip_sigma and average, use --clip-sigma and --average to "
            "override them",
        ),
    ],
    ids=["plan", "start", "range", "optimizer"],
)
def test_the_recipe_is_named_with_what_to_do(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(CimsimError) as raised:
        check(make_config(**SMALL, **settings))
    assert str(raised.value).endswith(expected)


def test_settings_of_the_user_are_not_those_of_the_recipe() -> None:
    own = {"learn_ranges": ("adc",), "objective": ("cross-entropy",)}
    with pytest.raises(CimsimError, match="ADC cannot be learned") as raised:
        check(make_config(recipe="llm", profile="ideal", **own, **SMALL))
    assert "recipe" not in str(raised.value)


def test_another_value_overrides_the_recipe() -> None:
    own = {"learn_ranges": (), "objective": ("cross-entropy",)}
    check(make_config(recipe="llm", profile="ideal", **own, **SMALL))
