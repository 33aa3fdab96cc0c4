from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.sweeps.axis import Axis, parse_axis
from cimsim.errors import CimsimError
from cimsim.profile import load_profile


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("noise=0:2:0.25", (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)),
        ("noise=0:1:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("noise=0:1:0.4", (0.0, 0.4, 0.8)),
        ("noise=2:0:-1", (2.0, 1.0, 0.0)),
        ("noise=1:1:1", (1.0,)),
        ("noise=1, 1,2", (1.0, 2.0)),
        (" noise = 4 ", (4.0,)),
        ("time=1s,1h,1 day,1y", (1.0, 3600.0, 86400.0, 31557600.0)),
        ("time=0:2h:1h", (0.0, 3600.0, 7200.0)),
        ("adc.bits=ideal,8,6,4", (None, 8, 6, 4)),
        ("cycle=0,3", (0, 3)),
        ("cycle=0:3:1", (0, 1, 2, 3)),
        ("dac.bits=4:8:2", (4, 6, 8)),
        ("array.drift_compensation=global,none", ("global", "none")),
        ("cell.g_max_uS=5,2.5e1", (5, 25.0)),
    ],
)
def test_levels_are_read(text: str, values: tuple[object, ...]) -> None:
    read = parse_axis(text).values
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("over", "text"),
    [
        ({"noise": (0, 1, 2)}, "noise=0,1,2"),
        ({"noise": np.linspace(0, 1, 4)}, f"noise=0,{1 / 3},{2 / 3},1"),
        ({"noise": torch.tensor([0.0, 0.5])}, "noise=0,0.5"),
        ({"time": [1, 60.5, "1h"]}, "time=1s,60.5s,1h"),
        ({"adc.bits": [None, 8, "6"]}, "adc.bits=ideal,8,6"),
        ({"array.drift_compensation": ["global"]}, "array.drift_compensation=global"),
    ],
)
def test_levels_of_python_are_those_of_the_text(over: dict[str, Any], text: str) -> None:
    assert parse_axis(over) == parse_axis(text)


@pytest.mark.parametrize(
    "over", [{}, {"noise": [1], "time": [1]}, {"noise": "0,1"}, {"noise": 1}, ["noise", 1], 3]
)
def test_other_objects_are_no_axis(over: Any) -> None:
    with pytest.raises(CimsimError, match=r"or one name with its levels, .*\(got "):
        parse_axis(over)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"noise": []}, "a level is empty"),
        ({"noise": [0, -1]}, "cannot be negative"),
        ({"noise": [float("nan")]}, "'nan' is not a number"),
        ({"noice": [1]}, "did you mean 'noise'"),
    ],
)
def test_levels_of_python_are_checked_as_text_is(over: dict[str, Any], message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        parse_axis(over)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("noise", "has no levels"),
        ("noise=", "a level is empty"),
        ("noise=1,,2", "a level is empty"),
        ("noise=1,", "a level is empty"),
        ("noise=0:2", "a range is start:stop:step"),
        ("noise=0:2:", "a range is start:stop:step"),
        ("noise=0:2:0", "must not be 0"),
        ("noise=0:2:-1", "the step -1 leads away from 2; change its sign"),
        ("noise=2:0:0.5", "the step 0.5 leads away from 0"),
        ("noise=-1", "cannot be negative"),
        ("noise=-1:1:1", "cannot be negative"),
        ("noise=nan", "'nan' is not a number"),
        ("noise=1e999", "'1e999' is not a number"),
        ("noise=1_0", "'1_0' is not a number"),
        ("noise=0:1e9:1", "more than 1000 levels"),
        ("noise=ideal", "'ideal' is not a number"),
        ("time=1 fortnight", "is not a duration"),
        ("time=-1s", "is not a duration"),
        ("adc.bits=8.5", "whole number or ideal"),
        ("cycle=-1", "a write cycle must be an integer of 0 or more"),
        ("cycle=0.5", "a write cycle must be an integer of 0 or more"),
        ("cycle=ideal", "a write cycle must be an integer of 0 or more"),
        ("cycle=first", "a write cycle must be an integer of 0 or more"),
        ("adc.bits=ideal:4:1", "needs three numbers"),
        ("nois=1", "did you mean 'noise'?"),
        ("adc.bit", "has no levels"),
        ("=1", "write NAME=LEVELS"),
        ("../x=1", "neither noise, time, cycle nor"),
        ("adc..bits=1", "neither noise, time, cycle nor"),
    ],
)
def test_nonsense_is_told_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(CimsimError) as caught:
        parse_axis(text)
    assert told in str(caught.value)
    assert f"'{text}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(start=st.integers(0, 1000), steps=st.integers(0, 200), step=st.integers(1, 1000))
def test_a_range_in_thousandths_ends_exactly_where_it_says(
    start: int, steps: int, step: int
) -> None:
    stop = start + steps * step
    values = parse_axis(f"noise={start / 1000}:{stop / 1000}:{step / 1000}").values
    assert values == tuple((start + i * step) / 1000 for i in range(steps + 1))


@given(st.text(max_size=30))
def test_any_text_is_an_axis_or_a_clear_error(text: str) -> None:
    try:
        axis = parse_axis(text)
    except CimsimError:
        return
    assert axis.values


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("noise", "Noise (multiple of the profile's)"),
        ("time", "Time since programming"),
        ("adc.bits", "ADC resolution (bits)"),
        ("cell.g_max_uS", "cell.g_max (µS)"),
        ("cell.drift.power-law.t0_s", "cell.drift.power-law.t0 (s)"),
        ("array.drift_compensation", "array.drift_compensation"),
    ],
)
def test_titles_carry_units(key: str, title: str) -> None:
    assert Axis(key, ()).title == title


def test_levels_are_written_as_people_do() -> None:
    assert Axis("time", ()).format(3600.0) == "1 h"
    assert Axis("adc.bits", ()).format(None) == "ideal"
    assert Axis("noise", ()).format(0.25) == "0.25"
    assert Axis("noise", ()).format(2.0) == "2"


def test_noise_scales_every_random_effect() -> None:
    profile = load_profile("pcm-ibm-2020")
    assert parse_axis("noise=1").apply(profile, 1.0) == profile
    assert parse_axis("noise=2").apply(profile, 2.0) == profile.scale_noise(2.0)


def test_time_leaves_the_profile_and_ages_the_chip() -> None:
    profile, axis = load_profile("pcm-ibm-2020"), parse_axis("time=1h")
    assert axis.apply(profile, 3600.0) is profile
    assert axis.age_s(3600.0) == 3600.0
    assert parse_axis("noise=1").age_s(1.0) is None


def test_keys_of_the_profile_are_set() -> None:
    profile = load_profile("pcm-ibm-2020")
    assert parse_axis("adc.bits=4").apply(profile, 4).adc.bits == 4
    assert parse_axis("adc.bits=ideal").apply(profile, None).adc.bits is None
    drift = parse_axis("cell.drift.power-law.strength=0").apply(profile, 0).cell.drift[0]
    assert drift.strength == 0


def test_a_section_that_the_profile_does_not_have_begins_or_is_named() -> None:
    profile = load_profile("pcm-ibm-2020")
    axis = parse_axis("cell.write_verify.tolerance_uS=0.5,1")
    windows = [axis.apply(profile, level).cell.write_verify for level in axis.values]
    assert [window and window.tolerance_uS for window in windows] == [0.5, 1.0]
    axis = parse_axis("cell.endurance.cycles=0,1e4")
    with pytest.raises(CimsimError) as caught:
        axis.apply(profile, axis.values[1])
    assert str(caught.value) == (
        "cell.endurance.cycles=10000: this profile has no 'cell.endurance'; set the whole section, "
        "as in 'cell.endurance={cycles: ..., cycles_of_table: ..., spread_factor: ...}'"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adc.bit=4", "adc.bit=4: unknown key 'bit'; did you mean 'bits'?"),
        ("adc.bits=99", "adc.bits=99: must be"),
        ("array.drift_compensation=sometimes", "array.drift_compensation=sometimes: must be"),
    ],
)
def test_what_the_profile_refuses_is_told_with_the_axis(text: str, told: str) -> None:
    axis = parse_axis(text)
    with pytest.raises(CimsimError) as caught:
        axis.apply(load_profile("pcm-ibm-2020"), axis.values[0])
    assert str(caught.value).startswith(told)
