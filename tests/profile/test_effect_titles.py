"""Titles of effects: every effect of the schema has one, and no two share one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cimsim.profile import (
    Effect,
    effect_title,
    effect_titles,
    load_profile,
    non_idealities,
    profile_names,
)


def _concrete(base: type[Effect]) -> Iterator[type[Effect]]:
    for effect in base.__subclasses__():
        if "kind" in vars(effect).get("__annotations__", {}):
            yield effect
        yield from _concrete(effect)


def test_every_effect_of_the_schema_has_a_title() -> None:
    classes = [effect for effect in _concrete(Effect) if effect.__module__.startswith("cimsim.")]
    assert len(classes) > 25
    titles = {known.title for known in effect_titles().values()}
    for effect in classes:
        assert any(title.endswith(effect.title) for title in titles), effect


def test_titles_are_words_and_no_two_are_equal() -> None:
    titles = effect_titles()
    assert len({known.title for known in titles.values()}) == len(titles) > 35
    for name, known in titles.items():
        assert "." not in known.title, name
        assert "_" not in known.title, name
        assert known.meaning.endswith("."), name


@pytest.mark.parametrize("name", profile_names())
def test_every_non_ideality_of_a_shipped_profile_has_one(name: str) -> None:
    for key in non_idealities(load_profile(name)):
        assert effect_title(key) != key


def test_two_effects_of_a_kind_are_numbered() -> None:
    noise = "cell.read_noise=[{kind: relative, sigma_of_g: 0.1}, {kind: relative, sigma_of_g: 0.2}]"
    names = non_idealities(load_profile("ideal", [noise]))
    assert [effect_title(name) for name in names] == ["read noise 1", "read noise 2"]


def test_an_unknown_name_stays() -> None:
    assert effect_title("cell.gone.kind") == "cell.gone.kind"
