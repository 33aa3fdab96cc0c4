"""A device in words and numbers."""

from __future__ import annotations

import pytest

from cimsim.profile import Row, describe, load_profile, profile_names


def rows(name: str, *overrides: str) -> dict[str, dict[str, Row]]:
    sections = describe(load_profile(name, overrides))
    return {heading: {row.label: row for row in rows} for heading, rows in sections}


def test_values_have_units_meanings_and_sources() -> None:
    told = rows("pcm-ibm-2020")
    row = told["cell"]["g_max_uS"]
    assert row.value == "25 µS"
    assert row.meaning == "conductance of the fully on state"
    assert row.source.startswith("joshi2020")
    assert told["cell.read_noise.one-over-f"]["t_read_ns"].value == "250 ns"
    nu = told["cell.drift.power-law"]["nu_std"]
    assert nu.value == "-0.0125 ln r - 0.0059, between 0.008 and 0.045"
    q = told["cell.read_noise.one-over-f"]["q"]
    assert q.value == "0.0088 r^-0.65, at most 0.2"
    assert "doi:10.1038/s41467-020-16108-9" in told["sources"]["joshi2020"].value


@pytest.mark.parametrize("name", profile_names())
def test_every_effect_tells_its_equation(name: str) -> None:
    for heading, told in rows(name).items():
        if heading.count(".") == 2 and ".range." not in heading:
            assert "=" in told["equation"].value
            assert told["equation"].meaning


def test_what_is_absent_is_told_too() -> None:
    told = rows("ideal")
    assert told["cell"]["drift"].value == "none"
    assert told["adc"]["bits"].value == "ideal (null)"


def test_one_row_for_each_age_of_a_table() -> None:
    told = rows("reram-wan-2022")["cell.drift.tabulated"]
    assert told["sigma_uS.1"].value == ("0.701 + 22.086 r - 50.773 r^2 + 47.095 r^3 - 16.458 r^4")


def test_what_was_set_by_hand_is_marked_and_its_neighbors_keep_their_source() -> None:
    told = rows("pcm-ibm-2020", "array.rows=64", "cell.drift.power-law.strength=0")
    assert told["set by hand"]["array.rows"].value == "64"
    assert told["array"]["rows"].source == "set by hand"
    assert told["array"]["columns"].source.startswith("assumption: ")
    assert told["cell.drift.power-law"]["strength"].source == "set by hand"
    assert "set by hand" not in rows("pcm-ibm-2020")
