"""What is written can be read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.profile import (
    Profile,
    dump_profile,
    load_profile,
    profile_names,
    profile_path,
    profile_schema,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SIZE = st.floats(min_value=0, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
SENTENCE = WORDS.filter(str.strip)
POLYNOMIAL = st.lists(FINITE, min_size=1, max_size=4)
CLIPPED = st.builds(
    lambda slope, intercept, bounds: {
        "slope": slope,
        "intercept": intercept,
        "min": min(bounds),
        "max": max(bounds),
    },
    FINITE,
    FINITE,
    st.tuples(SIZE, SIZE),
)


def effect(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"kind": st.just(kind), "source": SENTENCE, "strength": SIZE, **fields}
    )


PROGRAMMING = effect("polynomial", g_ref_uS=POSITIVE, sigma_uS=POLYNOMIAL) | effect(
    "gaussian", sigma_of_g_max=SIZE
)
DRIFT = effect(
    "power-law", t0_s=POSITIVE, g_ref_uS=POSITIVE, nu_mean=CLIPPED, nu_std=CLIPPED
) | effect(
    "tabulated-spread",
    g_ref_uS=POSITIVE,
    times_s=st.just([1, 2]),
    sigma_uS=st.lists(POLYNOMIAL, min_size=2, max_size=2),
)
PROFILES = st.fixed_dictionaries(
    {
        "schema_version": st.just(1),
        "name": WORDS,
        "title": WORDS,
        "description": WORDS,
        "sources": st.dictionaries(WORDS, WORDS, max_size=3),
        "cell": st.fixed_dictionaries(
            {
                "technology": WORDS,
                "g_min_uS": st.floats(0, 1),
                "g_max_uS": st.floats(2, 1e300),
                "source": st.fixed_dictionaries({"g_min_uS": SENTENCE, "g_max_uS": SENTENCE}),
                "programming_noise": st.lists(PROGRAMMING, max_size=2),
                "drift": st.lists(DRIFT, max_size=2),
            }
        ),
        "array": st.fixed_dictionaries(
            {"rows": st.integers(1, 9999), "columns": st.just(1), "source": SENTENCE}
        ),
        "dac": st.fixed_dictionaries({"bits": st.none() | st.integers(2, 16), "source": SENTENCE}),
        "adc": st.fixed_dictionaries({"bits": st.none(), "noise_of_range": st.just(0.0)}),
    }
).map(Profile.model_validate)


@given(PROFILES)
def test_a_dumped_profile_loads_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, profile: Profile
) -> None:
    file = tmp_path_factory.getbasetemp() / "dumped.yaml"
    file.write_text(dump_profile(profile), encoding="utf-8")
    assert load_profile(file) == profile


@pytest.mark.parametrize("name", profile_names())
def test_shipped_overridden_and_scaled_profiles_survive(tmp_path: Path, name: str) -> None:
    profile = load_profile(name, ["adc.bits=5", "cell.g_max_uS=33.3"]).scale_noise(1 / 3)
    file = tmp_path / "profile.yaml"
    file.write_text(dump_profile(profile), encoding="utf-8")
    assert load_profile(file) == profile
    assert dump_profile(load_profile(file)) == dump_profile(profile)


@pytest.mark.parametrize(
    "text", ["1e-6", "no", "010", "null", "~", "a: b", "# c", "1", "true", "-"]
)
def test_texts_that_look_like_something_else_stay_texts(tmp_path: Path, text: str) -> None:
    profile = load_profile("ideal").model_copy(update={"name": text})
    file = tmp_path / "odd.yaml"
    file.write_text(dump_profile(profile), encoding="utf-8")
    assert load_profile(file).name == text


def test_the_schema_file_is_the_generated_one() -> None:
    constraints = Path(__file__).parents[2].joinpath("constraints.txt").read_text(encoding="utf-8")
    if f"pydantic=={pydantic.VERSION} " not in constraints:
        pytest.skip("the file is written by the locked version of pydantic")
    file = profile_path("ideal").parent / "profile.schema.json"
    assert json.loads(file.read_text(encoding="utf-8")) == profile_schema(), (
        "write it anew: cimsim profiles schema > device_profiles/profile.schema.json"
    )


def test_every_profile_names_its_schema() -> None:
    first = "# yaml-language-server: $schema=./profile.schema.json\n"
    for name in profile_names():
        assert profile_path(name).read_text(encoding="utf-8").startswith(first)


def test_the_schema_knows_extends_and_asks_for_the_kind_of_each_effect() -> None:
    schema = profile_schema()
    assert "extends" in schema["properties"]
    effects = [each for each in schema["$defs"].values() if "kind" in each["properties"]]
    assert len(effects) == 6
    assert all("kind" in each["required"] for each in effects)
