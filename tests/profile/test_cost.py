"""The ``cost`` section of a profile: read, set, described, and no part of what a chip computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.profile import (
    CostRates,
    ProfileError,
    SurveyAdc,
    describe,
    dump_profile,
    fingerprint,
    load_profile,
    profile_names,
    validate_file,
)

HEAD = "schema_version: 1\nextends: ideal\nname: mine\n"


def issues(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + text)
    return [str(issue) for issue in validate_file(path)]


def test_an_empty_section_is_the_generic_chip(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(HEAD + "cost: {}\n")
    assert load_profile(tmp_path / "mine.yaml").cost == CostRates()
    assert load_profile("ideal").cost is None


def test_what_is_wrong_is_said_at_its_place(tmp_path: Path) -> None:
    (unknown,) = issues(tmp_path, "cost:\n  node_um: 65\n")
    assert unknown.endswith(
        "cost: unknown key 'node_um'; did you mean 'node_nm', with the number in nm?"
    )
    (source,) = issues(tmp_path, "cost:\n  node_nm: 65.0\n")
    assert "no source for 'node_nm'" in source
    (inner,) = issues(tmp_path, "cost:\n  adc: {kind: measured, e_adc_pJ: 1.0, area_um2: 2.0}\n")
    assert "no source for 'area_um2', 'e_adc_pJ'" in inner
    (kind,) = issues(tmp_path, "cost:\n  adc: {kind: surveyed}\n")
    assert "surveyed" in kind
    (range_,) = issues(tmp_path, "cost: {node_nm: 65000.0, source: x}\n")
    assert "between 1 and 1000 nm" in range_


def test_keys_are_set_one_by_one_where_there_was_no_section() -> None:
    profile = load_profile("ideal", ["cost.node_nm=7", "cost.adc.rate_MHz=50"])
    assert profile.cost is not None
    assert (profile.cost.node_nm, profile.cost.source) == (7, {"node_nm": "set by hand"})
    assert profile.cost.adc == SurveyAdc(rate_MHz=50.0, source={"rate_MHz": "set by hand"})
    with pytest.raises(ProfileError, match="unknown key 'node'"):
        load_profile("ideal", ["cost.node=7"])


def test_another_kind_replaces_what_is_extended(tmp_path: Path) -> None:
    text = HEAD.replace("ideal", "sram-charge-jia-2020") + "cost: {adc: {kind: survey}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    cost = load_profile(tmp_path / "mine.yaml").cost
    assert cost is not None
    assert cost.adc == SurveyAdc()
    assert cost.node_nm == 65


@pytest.mark.parametrize("name", profile_names())
def test_it_is_written_and_read_again(tmp_path: Path, name: str) -> None:
    profile = load_profile(name, ["cost.node_nm=7"])
    (tmp_path / "copy.yaml").write_text(dump_profile(profile))
    assert load_profile(tmp_path / "copy.yaml") == profile


def test_it_is_described_with_units_and_sources() -> None:
    sections = {s.heading: s.rows for s in describe(load_profile("sram-charge-jia-2020"))}
    rows = {row.label: row for row in sections["cost.adc.measured"]}
    assert rows["e_adc_pJ"].value == "1.79 pJ"
    assert rows["area_um2"].value == "1941 µm²"
    assert rows["e_adc_pJ"].source.startswith("jia2020")
    assert "cost.read" in sections


def test_it_is_no_part_of_what_a_chip_computes() -> None:
    for name in ("ideal", "sram-charge-jia-2020", "pcm-hermes-2023"):
        before, after = load_profile(name), load_profile(name, ["cost.node_nm=7"])
        assert before != after
        assert fingerprint(before) == fingerprint(after)
        assert fingerprint(before) != fingerprint(load_profile(name, ["array.rows=77"]))


def test_works_that_only_the_cost_cites_are_no_part_of_it_either(tmp_path: Path) -> None:
    own = "sources: {andrulis2024: a survey}\ncost: {node_nm: 7.0, source: 'andrulis2024: 7 nm'}\n"
    (tmp_path / "mine.yaml").write_text(HEAD + own)
    (tmp_path / "plain.yaml").write_text(HEAD)
    mine, plain = (load_profile(tmp_path / file) for file in ("mine.yaml", "plain.yaml"))
    assert fingerprint(mine) == fingerprint(plain)


def test_without_a_cost_nothing_has_changed() -> None:
    """What sweeps were named by before there was such a section."""
    profile = load_profile("generic-gaussian")
    assert fingerprint(profile) == profile.model_dump_json(exclude={"cost"})
