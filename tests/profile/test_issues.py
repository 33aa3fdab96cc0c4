"""A wrong file is answered with all of its faults, each at its place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.profile import Issue, ProfileError, load_profile, profile_path, validate_file

Pairs = list[tuple[str, Any]]

# Written as pairs, so that a key can be given twice. What is wrong stands in FAULTS below.
FAULTY: Pairs = [
    ("schema_version", "1"),
    ("name", "faulty"),
    ("title", "eight faults of eight kinds"),
    (
        "cell",
        [
            ("technology", "PCM"),
            ("g_min_uS", "0.0"),
            ("g_max_S", "25e-6"),
            ("source", "somewhere"),
            ("read_noise", "[{kind: lognormal, source: x}]"),
            ("programming_noise", "[{kind: gaussian, sigma_of_g_max: 25 uS, source: x}]"),
        ],
    ),
    ("array", [("rows", "0"), ("columns", "512"), ("source", "x")]),
    ("array", [("rows", "9"), ("columns", "9"), ("source", "x")]),
    ("dac", [("bits", "8")]),
    ("adc", [("noise_of_range", ".nan"), ("source", "x")]),
]
# The line that each fault must point to, and what it must say.
FAULTS = {
    "  g_max_S: 25e-6": "cell: unknown key 'g_max_S'; did you mean 'g_max_uS', with the number in",
    "  read_noise:": "cell.read_noise.0.kind: unknown kind 'lognormal'; available: one-over-f, on",
    "  programming_noise:": "sigma_of_g_max: must be a number without a unit; the key contains",
    "  rows: 0": "array.rows: must be 1 or more (got 0)",
    "array:": "duplicate key 'array' (first on line ",
    "dac:": "dac: no source for 'bits'; add it to 'source', or write 'assumption: ...' there",
    "adc:": "adc: missing key 'bits': resolution; null: ideal",
    "  noise_of_range: .nan": "adc.noise_of_range: must be a finite number (got nan)",
}


def shuffled(pairs: Pairs, order: random.Random, indent: str = "") -> list[str]:
    """The lines of a file with the keys of every section in another order."""
    lines = []
    duplicates = [pair for pair in pairs if pair[0] == "array"][1:]
    rest = [pair for pair in pairs if pair not in duplicates]
    for key, value in [*order.sample(rest, len(rest)), *duplicates]:
        if isinstance(value, list):
            lines += [f"{indent}{key}:", *shuffled(value, order, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


@given(st.randoms(use_true_random=False))
def test_eight_faults_of_a_shuffled_file_are_eight_located_messages(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random
) -> None:
    lines = shuffled(FAULTY, order)
    file = tmp_path_factory.mktemp("faulty") / "faulty.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    messages = str(caught.value).splitlines()
    assert len(messages) == len(FAULTS) == 8
    for start, message in FAULTS.items():
        (found,) = [text for text in messages if message in text]
        line = max(number for number, text in enumerate(lines, 1) if text.startswith(start))
        assert found.startswith(f"{file}:{line}:"), found
    places = [(issue.line, issue.column) for issue in caught.value.issues]
    assert places == sorted(places)


def fault_of(folder: Path, old: str, new: str, profile: str = "pcm-ibm-2020") -> Issue:
    """The only fault of a shipped profile in which a piece of text was replaced."""
    text = profile_path(profile).read_text(encoding="utf-8")
    assert old in text
    file = folder / "mine.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    (issue,) = validate_file(file)
    return issue


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows: 512", "rows: 010", "must be a whole number (got '010')"),
        ("rows: 512", "rows: 12:30:00", "must be a whole number (got '12:30:00')"),
        ("rows: 512", "rows: no", "must be a whole number (got 'no')"),
        ("rows: 512", "rows: true", "must be a whole number (got true)"),
        ("rows: 512", "rows: 8.5", "must be a whole number (got 8.5)"),
        ("rows: 512", "rows: '512'", "must be a whole number; leave out the quotes (got '512')"),
        ("rows: 512", "rows:", "must be a whole number (got nothing)"),
        ("bits: 8", "bits: 17", "must be 16 or less (got 17)"),
        ("g_max_uS: 25.0", "g_max_uS: 0", "must be greater than 0 (got 0)"),
        ("g_max_uS: 25.0", "g_max_uS: 1e999", "must be a finite number (got inf)"),
        ("g_min_uS: 0.0", "g_min_uS: 25", "g_max_uS must be larger than g_min_uS"),
        ("g_min_uS: 0.0", "g_min_uS: 1e-6 S", "must be a number without a unit; the key"),
        ("min: 0.049", "min: 0.2", "max must not be smaller than min"),
        ("t0_s: 20.0", "t0_s: -1", "must be greater than 0 (got -1)"),
        (
            "coefficients: [0.26348, 1.9650, -1.1731]",
            "coefficients: []",
            "must not be an empty list",
        ),
        ("coefficients: [0.26348, 1.9650, -1.1731]", "coefficients: 3", "must be a list, such as"),
        ("coefficients: [0.26348,", "coefficients: [x,", "must be a number (got 'x')"),
        ("t_read_ns: 250.0", "t_read_us: 0.25", "did you mean 't_read_ns', with the number in ns?"),
        ("kind: power-law", "kind: power-lw", "unknown kind 'power-lw'; did you mean 'power-law'?"),
        ("kind: power-law", "kind: [a]", "must be text (got a list)"),
        ("- kind: power-law", "- knd: power-law", "missing key 'kind'"),
        ("drift_compensation: global", "drift_compensation: globl", "did you mean 'global'?"),
        ("technology: PCM", "technology: ''", "must not be empty"),
        ("technology: PCM", "technology: 3", "must be text; put quotes around it (got 3)"),
        ("schema_version: 1", "schema_version: 2", "must be 1 (got 2)"),
        ("schema_version: 1", "schema_version: 1.0", "must be a whole number (got 1.0)"),
        ("    t_read_ns:", "    t_read:", "unknown key 't_read'"),
    ],
)
def test_a_wrong_value_is_explained_at_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = profile_path("pcm-ibm-2020").read_text(encoding="utf-8")
    line = text[: text.index(old)].count("\n") + 1
    issue = fault_of(tmp_path, old, new)
    assert message in str(issue)
    assert abs(issue.line - line) <= 1  # a fault between two keys stands at the second
    assert issue.column > 1 or not issue.path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"aihwkit2021: width of the read pulse"', "''", "must be one sentence, or a mapping"),
        (
            '        t_read_ns: "aihwkit2021: width',
            '        x: "',
            "unknown key 'x'; available: t_read",
        ),
        (
            '  source: "assumption: tiles',
            '  sourc: "',
            "unknown key 'sourc'; did you mean 'source'",
        ),
    ],
)
def test_a_wrong_source_is_explained(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    text = profile_path("pcm-ibm-2020").read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(message in str(issue) for issue in validate_file(file))


def test_a_number_without_a_source_is_a_fault_at_the_number(tmp_path: Path) -> None:
    line = '        t_read_ns: "aihwkit2021: width of the read pulse"\n'
    issue = fault_of(tmp_path, line, "")
    assert "no source for 't_read_ns'" in issue.message
    assert issue.path == "cell.read_noise.0.t_read_ns"


def test_ages_of_a_table_must_ascend_and_have_one_curve_each(tmp_path: Path) -> None:
    ages = "times_s: [1, 86400, 172800]"
    assert "ascend" in fault_of(tmp_path, ages, "times_s: [1, 9, 8]", "reram-wan-2022").message
    issue = fault_of(tmp_path, ages, "times_s: [1, 2]", "reram-wan-2022")
    assert "one curve for each of the 2 ages" in issue.message


def test_one_slip_in_a_key_is_one_fault(tmp_path: Path) -> None:
    issue = fault_of(tmp_path, "columns: 512", "colums: 512")
    assert issue.message == "unknown key 'colums'; did you mean 'columns'?"


def test_a_python_mistake_with_a_section_is_refused_too() -> None:
    profile = load_profile("pcm-ibm-2020")
    with pytest.raises(ValueError, match="no source for 'bits'"):
        type(profile.dac)(bits=8)
