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
from cimsim.profile.fields import LARGEST

FINITE = st.floats(-LARGEST, LARGEST)
SIZE = st.floats(0, LARGEST)
POSITIVE = st.floats(1 / LARGEST, LARGEST)
KNOB = st.floats(0, 10)
# Together, what a strength multiplies and conductances must not be too large for float32.
SMALL = st.floats(-1, 1)
SIZE_SMALL = st.floats(0, 1)
G_REF = st.floats(1, LARGEST)
VOLT = st.floats(1 / LARGEST, 10)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=50
)
SENTENCE = WORDS.filter(str.strip)
POLYNOMIAL = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["polynomial", "log-polynomial"]),
        "coefficients": st.lists(SMALL, min_size=1, max_size=4),
    }
)
CLIPPED = st.builds(
    lambda slope, intercept, bounds: {
        "kind": "clipped-log",
        "slope": slope,
        "intercept": intercept,
        "min": min(bounds),
        "max": max(bounds),
    },
    SMALL,
    SMALL,
    st.tuples(SIZE_SMALL, SIZE_SMALL),
)
SATURATING = st.fixed_dictionaries(
    {"kind": st.just("saturating"), "amplitude": SIZE_SMALL, "scale": POSITIVE}
)
POWER = st.fixed_dictionaries(
    {
        "kind": st.just("capped-power"),
        "coefficient": SIZE_SMALL,
        "exponent": SMALL,
        "max": SIZE_SMALL,
    }
)
TABLE = st.lists(
    st.tuples(SMALL, SMALL), min_size=1, max_size=4, unique_by=lambda p: round(p[0], 6)
).map(
    lambda points: {
        "kind": "table",
        "r": [round(r, 6) for r, _ in sorted(points)],
        "values": [value for _, value in sorted(points)],
    }
)
SIMPLE = POLYNOMIAL | CLIPPED | SATURATING | POWER | TABLE
CURVE = SIMPLE | st.fixed_dictionaries(
    {"kind": st.just("piecewise"), "at": POSITIVE, "below": SIMPLE, "above": SIMPLE}
)
FRACTION = st.floats(0, 1)
CELSIUS = st.floats(0, 100)


def effect(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"kind": st.just(kind), "source": SENTENCE, "strength": KNOB, **fields}
    )


PROGRAMMING = (
    effect("state-dependent", g_ref_uS=G_REF, sigma_uS=CURVE, bias_uS=st.none() | CURVE)
    | effect("relative", sigma_of_g=SIZE_SMALL)
    | effect("gaussian", sigma_of_g_max=SIZE_SMALL)
)
DRIFT = (
    effect("power-law", t0_s=POSITIVE, g_ref_uS=G_REF, nu_mean=CURVE, nu_std=CURVE)
    | effect("log-relaxation", t0_s=POSITIVE, shift_uS=SMALL, sigma0_uS=SIZE_SMALL, slope_uS=SMALL)
    | effect(
        "tabulated",
        g_ref_uS=G_REF,
        times_s=st.just([1, 2]),
        sigma_uS=st.lists(CURVE, min_size=2, max_size=2),
        shift_uS=st.just([]) | st.lists(CURVE, min_size=2, max_size=2),
    )
)
READ = (
    effect("one-over-f", t0_s=SIZE, t_read_ns=POSITIVE, g_ref_uS=G_REF, q=CURVE)
    | effect("one-over-f-absolute", t_read_ns=POSITIVE, g_ref_uS=G_REF, amplitude_uS=CURVE)
    | effect("state-dependent", g_ref_uS=G_REF, sigma_uS=CURVE)
    | effect("relative", sigma_of_g=SIZE_SMALL)
    | effect("gaussian", sigma_of_g_max=SIZE_SMALL)
    | effect("thermal", v_read_V=VOLT, t_read_ns=POSITIVE)
    | effect("telegraph", share_of_cells=FRACTION, step_of_g=SIZE_SMALL, occupancy=FRACTION)
)
FAULT = (
    effect("stuck", at=st.sampled_from(["g_min", "g_max", "random"]), rate=FRACTION)
    | effect("dead-lines", row_rate=FRACTION, column_rate=FRACTION)
    | effect(
        "map",
        cells=st.lists(
            st.tuples(st.just(0), st.just(0), st.integers(0, 1), SIZE).map(list),
            max_size=2,
            unique_by=lambda entry: entry[2],
        ),
    )
)
TEMPERATURE = effect("linear", reference_C=CELSIUS, g_ref_uS=G_REF, alpha_per_K=CURVE) | effect(
    "arrhenius", reference_C=CELSIUS, activation_eV=st.floats(-0.5, 0.5)
)
IV = effect(
    "polynomial", v_read_V=VOLT, g_ref_uS=G_REF, a2_uA_per_V2=CURVE, a3_uA_per_V3=CURVE
) | effect("sinh", v_read_V=VOLT, k_per_V=st.floats(0, 5))
RANGE = st.sampled_from(
    [
        {"kind": "mse"},
        {"kind": "max"},
        {"kind": "percentile", "percentile": 99.9},
        {"kind": "k-sigma", "k": 3.0},
        {"kind": "fixed", "full_scale": 2.0, "source": "assumption: a test"},
    ]
)
ADC_ERROR = (
    effect("gain", sigma=SIZE)
    | effect("offset", sigma_of_range=SIZE)
    | effect("bow", peak_of_range=FINITE)
    | effect("compression", n=SIZE)
    | effect(
        "measured",
        ideal_of_range=st.just([-1.0, 0.0, 1.0]),
        mean_error_of_range=st.lists(FINITE, min_size=3, max_size=3),
        spread_of_range=st.lists(SIZE, min_size=3, max_size=3),
    )
    | effect("temperature", reference_C=CELSIUS, gain_per_K=FINITE, offset_of_range_per_K=FINITE)
)
WIRES = st.none() | effect(
    "nodal", cells=st.just("passive"), r_word_ohm=SIZE, r_bit_ohm=SIZE, r_source_ohm=SIZE
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
                "g_max_uS": st.floats(2, 1e3),
                "source": st.fixed_dictionaries({"g_min_uS": SENTENCE, "g_max_uS": SENTENCE}),
                "programming_noise": st.lists(PROGRAMMING, max_size=2),
                "faults": st.lists(FAULT, max_size=2),
                "drift": st.lists(DRIFT, max_size=2),
                "temperature": st.lists(TEMPERATURE, max_size=1),
                "read_noise": st.lists(READ, max_size=2),
                "iv": st.none() | IV,
            }
        ),
        "array": st.fixed_dictionaries(
            {"rows": st.integers(1, 9999), "columns": st.just(1), "source": SENTENCE}
        ),
        "dac": st.fixed_dictionaries(
            {"bits": st.integers(2, 16), "bit_serial": st.booleans(), "range": RANGE}
            | {"source": SENTENCE}
        ),
        "adc": st.fixed_dictionaries(
            {
                "bits": st.integers(2, 16),
                "noise_of_range": SIZE,
                "range": RANGE,
                "range_per": st.sampled_from(["layer", "tile"]),
                "columns_per_adc": st.integers(1, 8),
                "errors": st.lists(ADC_ERROR, max_size=2, unique_by=lambda error: error["kind"]),
                "source": SENTENCE,
            }
        ),
        "wires": WIRES,
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
    rescaled = () if load_profile(name).cell.signed else ("cell.g_max_uS=333.3",)
    profile = load_profile(name, ["adc.bits=5", *rescaled]).scale_noise(1 / 3)
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
    kinds = [name for name, each in schema["$defs"].items() if "kind" in each["properties"]]
    assert {"PowerLawDrift", "TelegraphReadNoise", "SarMismatch", "Table", "PeakRange"} <= set(
        kinds
    )
    optional = [name for name in kinds if "kind" not in schema["$defs"][name].get("required", [])]
    assert optional == ["Endurance", "Wires"]  # of which there is one kind each
