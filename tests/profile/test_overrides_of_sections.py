"""Sections set by hand: replaced, of another kind, or absent; the cases are those of the schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cimsim.profile import (
    PercentileRange,
    Profile,
    ProfileError,
    WriteVerify,
    load_profile,
    override_profile,
    profile_names,
)
from tests.schema import Case, cases, effect_kinds
from tests.test_every_setting import BASE

CASES = cases()
LISTS = {place for place, _ in effect_kinds()} - {"cell.iv", "cell.endurance", "wires"}
# Single keys of absent sections: those that suffice, and those of which more are required.
ENOUGH = (
    "cell.write_verify.tolerance_uS=1",
    "array.pairs.significance=[4, 1]",
    "wires.r_bit_ohm=2",
    "cost.read.mean_drive=0.1",
)
TOO_FEW = {
    "cell.iv.k_per_V=1": "cell.iv={kind: sinh, v_read_V: ..., k_per_V: ...}",
    "cell.iv.kind=sinh": "cell.iv={kind: sinh, v_read_V: ..., k_per_V: ...}",
    "cell.endurance.cycles=1e4": (
        "cell.endurance={cycles: ..., cycles_of_table: ..., spread_factor: ...}"
    ),
    "cell.programming_noise.0.bias_uS.coefficients=[1]": (
        "cell.programming_noise.0.bias_uS={kind: polynomial, coefficients: ...}"
    ),
}


def in_steps(key: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """The keys of a section, down to ``depth`` below it, with their values."""
    if isinstance(value, dict) and depth:
        for inner, content in value.items():
            yield from in_steps(f"{key}.{inner}", content, depth - 1)
    else:
        yield key, value


def overrides_of(case: Case, depth: int) -> dict[str, Any]:
    """What ``case`` sets: each effect whole, or key by key."""
    steps: dict[str, Any] = {}
    for key, value in case.sets:
        if depth and key in LISTS:
            assert len(value) == 1
            steps |= in_steps(f"{key}.0", value[0], depth)
        else:
            steps |= in_steps(key, value, depth)
    return steps


def of_another_kind(case: Case) -> Case:
    """A case with another kind of effect at the same place; itself if there is only one kind."""
    key = case.sets[0][0]
    for other in CASES:
        kinds = [v[0]["kind"] for k, v in (case.sets[0], other.sets[0]) if k == key in LISTS]
        if len(kinds) == 2 and kinds[0] != kinds[1]:
            return other
    return case


def contents(node: Any) -> Any:
    """Everything but sources."""
    if isinstance(node, dict):
        return {
            k: contents(v) for k, v in node.items() if k not in ("source", "overrides", "sources")
        }
    return [contents(item) for item in node] if isinstance(node, (list, tuple)) else node


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_setting_is_set_by_hand_as_in_a_file(case: Case) -> None:
    """Whole, by the keys of its section, and by the innermost keys, in either order."""
    in_file = case.profile(BASE)
    for depth in (0, 1, 9):
        before = case
        if depth and case.sets[0][0] in LISTS:
            before = of_another_kind(case)
            before = replace(before, needs=(*case.needs, *before.needs))
        elif depth or not case.needs:
            before = replace(case, sets=())
        start = before.profile(BASE)
        steps = [*overrides_of(case, depth).items()]
        for given in (steps, steps[::-1]):
            by_hand = override_profile(start, dict(given))
            assert contents(by_hand.model_dump()) == contents(in_file.model_dump())
            assert override_profile(start, by_hand.overrides) == by_hand


@pytest.mark.parametrize("name", profile_names())
def test_every_curve_of_a_shipped_profile_can_be_replaced(name: str) -> None:
    profile = load_profile(name)
    for key in curves_of(profile.model_dump()):
        changed = load_profile(name, [f"{key}={{kind: polynomial, coefficients: [0.02]}}"])
        owner, _, field = key.rpartition(".")
        section: Any = changed
        for part in owner.split("."):
            section = section[int(part)] if part.isdecimal() else getattr(section, part)
        assert getattr(section, field).coefficients == (0.02,)
        assert section.source_of(field) == "set by hand"


def curves_of(data: Any, path: str = "") -> Iterator[str]:
    """The keys of single curves; those within lists and pieces belong to a larger whole."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(value, dict) and "kind" in value and "source" not in value:
            if isinstance(data, dict):
                yield f"{path}{key}"
        elif isinstance(value, (dict, list, tuple)):
            yield from curves_of(value, f"{path}{key}.")


def test_overrides_of_one_call_apply_together() -> None:
    for overrides in (
        ["dac.range.kind=percentile", "dac.range.percentile=50"],
        ["dac.range.percentile=50", "adc.bits=6", "dac.range.kind=percentile"],
        ["dac.range.kind=max", "dac.range.percentile=50", "dac.range.kind=percentile"],
        ["dac.range={kind: max}", "dac.range.percentile=50", "dac.range.kind=percentile"],
    ):
        of_dac = load_profile("pcm-ibm-2020", overrides).dac.range
        assert isinstance(of_dac, PercentileRange)
        assert of_dac.percentile == 50


def test_another_kind_takes_only_its_own_keys() -> None:
    """As in a file that extends another: a number of one kind means nothing to the next."""
    with pytest.raises(ProfileError) as caught:
        load_profile("pcm-ibm-2020", ["dac.range.kind=fixed", "dac.range.percentile=50"])
    wrong = "dac.range.percentile=50: unknown key 'percentile'; available: source, kind, full_scale"
    assert wrong in str(caught.value)
    assert "dac.range.kind=fixed: dac.range: missing key 'full_scale': " in str(caught.value)
    with pytest.raises(
        ProfileError, match=r"kind=percentile: dac\.range: missing key 'percentile'"
    ):
        load_profile("pcm-ibm-2020", ["dac.range.kind=percentile"])
    with pytest.raises(ProfileError, match="missing key 'coefficients'"):
        load_profile("pcm-ibm-2020", ["cell.drift.0.nu_mean.kind=polynomial"])


@pytest.mark.parametrize("override", ENOUGH)
def test_an_absent_section_begins_with_one_key_if_that_suffices(override: str) -> None:
    assert load_profile("pcm-ibm-2020", [override]).overrides == (override,)


@pytest.mark.parametrize("override", TOO_FEW)
def test_an_absent_section_that_needs_more_keys_is_named_with_them(override: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("pcm-ibm-2020", [override])
    whole = TOO_FEW[override]
    key = whole.partition("=")[0]
    sentence = f"this profile has no '{key}'; set the whole section, as in '{whole}'"
    assert str(caught.value) == f"{override}: {sentence}"


def test_a_key_of_an_absent_section_is_checked() -> None:
    with pytest.raises(ProfileError, match="unknown key 'tolerance'; did you mean 'tolerance_uS'"):
        load_profile("pcm-ibm-2020", ["cell.write_verify.tolerance=1"])
    with pytest.raises(ProfileError, match="must be greater than 0"):
        load_profile("pcm-ibm-2020", ["cell.write_verify.tolerance_uS=0"])
    window = load_profile("pcm-ibm-2020", ["cell.write_verify.tolerance_uS=1"]).cell.write_verify
    assert window == WriteVerify(tolerance_uS=1, source={"tolerance_uS": "set by hand"})


def test_numbers_inside_a_whole_section_are_set_by_hand() -> None:
    whole = "adc={bits: 4, range: {kind: fixed, full_scale: 16}}"
    profile: Profile = load_profile("pcm-ibm-2020", [whole, "adc.range.full_scale=8"])
    assert profile.adc.range.source_of("full_scale") == "set by hand"
    assert contents(profile.adc.range.model_dump()) == {"kind": "fixed", "full_scale": 8.0}
