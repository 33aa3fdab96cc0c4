from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.axis_scale import Scale, scale_of


def scale(text: str) -> Scale:
    axis = parse_axis(text)
    return scale_of(axis, axis.values)


def test_noise_is_linear_with_ticks_of_its_own() -> None:
    assert scale("noise=0:2:1") == Scale({0.0: 0.0, 1.0: 1.0, 2.0: 2.0}, (), False, True)


def test_one_level_is_named_and_not_joined() -> None:
    assert scale("noise=1") == Scale({1.0: 1.0}, ((1.0, "1"),), False, False)


def test_time_is_logarithmic_and_named_as_people_do() -> None:
    found = scale("time=1s,1h,1d,1y,10y")
    assert found.log
    assert [text for _, text in found.ticks] == ["1 s", "1 h", "1 d", "1 y", "10 y"]


def test_time_zero_stands_left_of_the_first_time() -> None:
    found = scale("time=0,1s,1y")
    assert 0 < found.positions[0.0] < found.positions[1.0]
    assert found.ticks[0] == (found.positions[0.0], "0 s")
    assert scale("time=0").positions == {0.0: 1.0}


def test_ideal_stands_beyond_the_most_bits() -> None:
    found = scale("adc.bits=ideal,8,6,4")
    assert found.positions == {4: 4.0, 6: 6.0, 8: 8.0, None: 10.0}
    assert [text for _, text in found.ticks] == ["4", "6", "8", "ideal"]
    assert scale("adc.bits=ideal").ticks == ((0.0, "ideal"),)


def test_words_are_spaced_evenly_and_not_joined() -> None:
    found = scale("array.drift_compensation=global,none")
    assert found.positions == {"global": 0.0, "none": 1.0}
    assert not found.joined


def test_decades_of_a_key_are_logarithmic() -> None:
    assert scale("cell.g_max_uS=0.1,1,10").log
    assert not scale("cell.g_max_uS=5,10,25").log


@given(st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=40))
def test_times_have_distinct_places_and_room_for_their_names(times: list[float]) -> None:
    times = [time if time > 1e-9 else 0.0 for time in times]
    axis = parse_axis("time=1s")
    found = scale_of(axis, times)
    order = sorted(found.positions, key=lambda level: found.positions[level])
    assert order == sorted(set(times))
    assert all(place > 0 for place in found.positions.values())
    ticks = [math.log(place) for place, _ in found.ticks]
    gaps = [right - left for left, right in pairwise(ticks)]
    assert all(gap >= 0.09 * (ticks[-1] - ticks[0]) * (1 - 1e-9) for gap in gaps)
