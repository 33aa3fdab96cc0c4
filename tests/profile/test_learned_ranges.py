"""Ranges that become parameters, on every profile that comes with the package."""

import pytest

from cimsim.profile import (
    learned_ranges,
    load_profile,
    override_profile,
    profile_names,
    with_learned_ranges,
)


@pytest.mark.parametrize("name", profile_names())
def test_ranges_become_learned_and_nothing_else_changes(name: str) -> None:
    profile = load_profile(name)
    measured = {
        part
        for part in ("dac", "adc")
        if getattr(profile, part).bits is not None and getattr(profile, part).range.kind != "fixed"
    }
    learned = with_learned_ranges(profile, ("dac", "adc"))
    assert {*learned_ranges(learned)} == measured
    before, after = profile.model_dump(), learned.model_dump()
    for part in ("dac", "adc"):
        before[part].pop("range")
        after[part].pop("range")
    before.pop("overrides")
    after.pop("overrides")
    assert after == before
    assert with_learned_ranges(learned, ("dac", "adc")) == learned


def test_fixed_ranges_and_ideal_converters_stay() -> None:
    profile = override_profile(
        load_profile("pcm-ibm-2020"),
        {"dac.range": {"kind": "fixed", "full_scale": 2.0}, "adc.bits": None},
    )
    assert with_learned_ranges(profile, ("dac", "adc")) == profile
