"""Two axes at once."""

from __future__ import annotations

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.grid_axis import at, grid, pair
from cimsim.errors import CimsimError
from cimsim.profile import load_profile

PCM = load_profile("pcm-ibm-2020")


def test_every_pair_once_row_by_row() -> None:
    both = grid(parse_axis("noise=0,2"), parse_axis("adc.bits=ideal,8"), "maps/a")
    assert [pair(level) for level in both.values] == [(0.0, None), (2.0, None), (0.0, 8), (2.0, 8)]
    assert both.key == "maps/a"
    assert both.named(at(2.0, None)) == "noise=2, adc.bits=ideal"
    assert both.age_s(at(2.0, 8)) is None


@pytest.mark.parametrize("level", [None, 0.1, 8, "per-column", 1e-300])
def test_a_level_survives_exactly(level: float | int | str | None) -> None:
    found, _ = pair(at(level, 1))
    assert found == level
    assert type(found) is type(level)


@pytest.mark.parametrize("order", [0, 1])
def test_noise_is_a_factor_on_what_the_other_axis_has_set(order: int) -> None:
    noise = parse_axis("noise=0.5,1")
    strength = parse_axis("cell.programming_noise.0.spread_strength=2,3")
    axes, levels = [noise, strength], [0.5, 2]
    if order:
        axes, levels = axes[::-1], levels[::-1]
    found = grid(*axes, "maps/a").apply(PCM, at(*levels))
    assert found.cell.programming_noise[0].spread_strength == 1.0


@pytest.mark.parametrize("axes", [("time=1h,1d", "noise=0,1"), ("noise=0,1", "time=1h,1d")])
def test_time_is_the_age_on_either_axis(axes: tuple[str, str]) -> None:
    both = grid(*map(parse_axis, axes), "maps/a")
    ages = {both.age_s(level) for level in both.values}
    assert ages == {3600.0, 86400.0}


def test_one_quantity_twice_is_no_map() -> None:
    with pytest.raises(CimsimError, match="both axes are noise; a map needs two different ones"):
        grid(parse_axis("noise=0,1"), parse_axis("noise=2,3"), "maps/a")
