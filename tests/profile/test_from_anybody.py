"""Profiles that somebody else wrote, by mistake or on purpose: one located answer, and soon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cimsim.profile import Issue, ProfileError, load_profile, profile_names, validate_file
from cimsim.profile.fields import LARGEST
from tests.fuzz.values import Place, at, places
from tests.physics.kinds import KINDS, Family, profile_with

GOOD = "schema_version: 1\nname: mine\nextends: ideal\n"


def made(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return file


def the_fault(file: Path) -> Issue:
    (issue,) = validate_file(file)
    return issue


@pytest.mark.parametrize(
    ("base", "place"),
    [
        ("dac: {bits: 99, source: x}\n", "base.yaml:4:13"),
        ("dac: [\n", "base.yaml:5:1"),
        ("dac: {bits: 3, bits: 4}\n", "base.yaml:4:16"),
        ("dac: \x07\n", "base.yaml:4:6"),
        ("dac: {bits: '\ud800', source: x}\n", "base.yaml:4:14"),
    ],
)
def test_a_fault_behind_extends_names_both_files(tmp_path: Path, base: str, place: str) -> None:
    made(tmp_path, f"{GOOD}{base}", "base.yaml")
    file = made(tmp_path, "schema_version: 1\nname: mine\nextends: ./base.yaml\n")
    for issue in validate_file(file):
        assert f"{tmp_path}/base.yaml:" in str(issue)
        assert f"(named in {file}:3:10)" in str(issue)
    assert any(str(issue).startswith(f"{tmp_path}/{place}") for issue in validate_file(file))


@pytest.mark.parametrize(
    "extends",
    [
        "missing.yaml",
        "pipe.yaml",
        "./folder/",
        "/dev/zero",
        "~nosuchuser/x.yaml",
        "x" * 300 + ".yaml",
    ],
)
def test_what_is_extended_and_cannot_be_read_is_a_fault_where_it_is_named(
    tmp_path: Path, extends: str
) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder").mkdir()
    issue = the_fault(made(tmp_path, f"schema_version: 1\nname: a\nextends: {extends}\n"))
    assert (issue.line, issue.column, issue.path) == (3, 10, "extends")


@pytest.mark.parametrize("length", [21, 700])
def test_an_endless_chain_ends_at_the_file_that_is_too_many(tmp_path: Path, length: int) -> None:
    for number in range(length):
        made(tmp_path, f"extends: ./p{number + 1}.yaml\nname: n\n", f"p{number}.yaml")
    made(tmp_path, GOOD, f"p{length}.yaml")
    issue = the_fault(tmp_path / "p0.yaml")
    assert "at most 20 profiles may extend each other" in issue.message
    assert (issue.line, issue.column) == (1, 10)


def test_twenty_profiles_may_extend_each_other(tmp_path: Path) -> None:
    for number in range(19):
        made(tmp_path, f"extends: ./p{number + 1}.yaml\nname: n{number}\n", f"p{number}.yaml")
    made(tmp_path, GOOD, "p19.yaml")
    assert load_profile(tmp_path / "p0.yaml").name == "n0"


@pytest.mark.parametrize(
    "kind", ["pipe", "/dev/zero", "/dev/stdin", "~nosuchuser/x.csv", "folder", "large"]
)
def test_a_fault_map_that_is_no_file_is_a_fault_where_it_is_named(
    tmp_path: Path, kind: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_text("row,column,device,g_uS\n" + "0,0,0,1\n" * 300_000)
    text = f"{GOOD}cell:\n  faults:\n    - {{kind: map, file: {json.dumps(kind)}, source: x}}\n"
    issue = the_fault(made(tmp_path, text))
    assert "cannot read the fault map" in issue.message
    assert issue.line == 6


def test_a_line_of_a_fault_map_names_the_profile_too(tmp_path: Path) -> None:
    made(tmp_path, "row,column,device,g_uS\n0,0\n", "map.csv")
    text = f"{GOOD}cell:\n  faults:\n    - {{kind: map, file: map.csv, source: x}}\n"
    file = made(tmp_path, text)
    assert str(the_fault(file)).startswith(f"{tmp_path}/map.csv:2:1: ")
    assert str(the_fault(file)).endswith(f"(named in {file}:6:25)")


@pytest.mark.parametrize("word", ['"\\UFFFFFFFF"', '"\\U00110000"', '"\\ud800"', '"\\udc00x"'])
@pytest.mark.parametrize("where", ["title: {}", "{}: x", "cell: {{technology: {}}}"])
def test_characters_that_do_not_exist_are_faults_at_their_place(
    tmp_path: Path, word: str, where: str
) -> None:
    issues = validate_file(made(tmp_path, f"{GOOD}{where.format(word)}\n"))
    assert any(issue.line == 4 and "character" in issue.message for issue in issues)
    for issue in issues:
        str(issue).encode("utf-8")


def test_two_halves_are_a_whole_character(tmp_path: Path) -> None:
    assert load_profile(made(tmp_path, f'{GOOD}title: "\\ud83d\\ude42"\n')).title == "🙂"


@pytest.mark.parametrize(
    "line",
    [
        lambda i: f"k{i}: 1",
        lambda i: f"technologies_{i}: 1",
        lambda i: "title: x",
        lambda i: f'"{i}{"k" * 500}": 1',
        lambda i: f"? [{i}]",
    ],
)
@pytest.mark.parametrize("section", ["", "cell:\n", "array:\n", "sources:\n"])
def test_900_kB_that_are_wrong_are_answered_soon(
    tmp_path: Path, line: Callable[[int], str], section: str
) -> None:
    indent = "  " if section else ""
    lines, size = [], 0
    while size < 900_000:
        lines.append(f"{indent}{line(len(lines))}")
        size += len(lines[-1]) + 1
    file = made(tmp_path, GOOD + section + "\n".join(lines))
    began = time.process_time()
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    assert time.process_time() - began < 5
    message = str(caught.value)
    assert len(message.splitlines()) <= 101
    assert max(map(len, message.splitlines())) < 1000
    assert all(issue.line for issue in caught.value.issues)


@pytest.mark.long
def test_a_fault_map_of_the_largest_size_survives_being_written_out(tmp_path: Path) -> None:
    cells = "".join(f"{i % 512},{i // 512},0,1.5\n" for i in range(20_000))
    made(tmp_path, f"row,column,device,g_uS\n{cells}", "map.csv")
    text = f"{GOOD}cell:\n  faults:\n    - {{kind: map, file: map.csv, source: x}}\n"
    from cimsim.profile import dump_profile

    profile = load_profile(made(tmp_path, text))
    assert load_profile(made(tmp_path, dump_profile(profile), "again.yaml")) == profile


def _numbers() -> list[tuple[Family, dict[str, Any], Place]]:
    """Every number of every kind of effect."""
    return [
        (family, effect, place)
        for family, effects in KINDS.items()
        for effect in effects
        for place in places(json.loads(json.dumps(effect)))
        if isinstance(at(json.loads(json.dumps(effect)), place), float)
    ]


@pytest.mark.parametrize("value", [1e39, 10 * LARGEST])
def test_a_number_that_no_chip_has_is_refused_wherever_it_is(value: float) -> None:
    for family, effect, place in _numbers():
        changed = json.loads(json.dumps(effect))
        at(changed, place[:-1])[place[-1]] = value
        with pytest.raises(ValueError, match=r"must (lie between|be)|should be"):
            profile_with(family, changed)


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_shipped_profile_is_refused_at_its_place_where_it_is_too_large(
    tmp_path: Path, name: str
) -> None:
    """Of a list of numbers, the last."""
    data = json.loads(load_profile(name).model_dump_json())
    numbers = [place for place in places(data) if isinstance(at(data, place), float)]
    chosen = {tuple("" if isinstance(key, int) else key for key in p): p for p in numbers}
    for place in chosen.values():
        before = at(data, place)
        at(data, place[:-1])[place[-1]] = 1e39
        issues = validate_file(made(tmp_path, json.dumps(data, indent=1)))
        assert any(issue.path.startswith(".".join(map(str, place))) for issue in issues)
        assert all(issue.line > 1 for issue in issues)
        at(data, place[:-1])[place[-1]] = before


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\x9b31m", "\u202eevil", "a\u2066b", "x\ufeff"])
def test_no_fault_sends_anything_to_the_terminal(tmp_path: Path, text: str) -> None:
    written = json.dumps(text)
    file = made(
        tmp_path, f"{GOOD}{written}: 1\ncell: {{iv: {{kind: {written}}}, {written}: {written}}}\n"
    )
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    assert len(caught.value.issues) >= 3
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("family", "effect"),
    [(family, effect) for family, effects in KINDS.items() for effect in effects],
    ids=[
        f"{family.field}-{effect['kind']}"
        for family, effects in KINDS.items()
        for effect in effects
    ],
)
def test_numbers_that_are_too_large_only_together_are_refused(
    family: Family, effect: dict[str, Any]
) -> None:
    """Each is allowed by itself; squared and summed up, float32 would hold none of them."""
    curves = [key for key, value in effect.items() if isinstance(value, dict)]
    if "g_ref_uS" in effect and any(effect[key]["kind"] == "polynomial" for key in curves):
        cubic = {"kind": "polynomial", "coefficients": [0.0, 0.0, 0.0, 1.0]}
        with pytest.raises(ValueError, match="more than the limit of 1e"):
            profile_with(family, {**effect, "g_ref_uS": 1e-11, curves[0]: cubic})
    sized = [key for key in effect if key.startswith(("sigma", "shift", "slope", "step"))]
    for key in sized:
        if isinstance(effect[key], float) and effect[key] > 0:
            with pytest.raises(ValueError, match="more than the limit of 1e"):
                profile_with(family, {**effect, key: 1e9, "strength": 1e5})


@pytest.mark.parametrize("kind", ["arrhenius", "linear", "sinh"])
def test_what_grows_beyond_any_float_is_refused(kind: str) -> None:
    for family, effects in KINDS.items():
        for effect in effects:
            if effect["kind"] == kind and kind == "sinh":
                with pytest.raises(ValueError, match="or currents overflow"):
                    profile_with(family, {**effect, "k_per_V": 1e3})
            elif effect["kind"] == kind:
                celsius = -273.1499 if kind == "arrhenius" else 1e9
                with pytest.raises(ValueError, match=r"conductances change .*; check"):
                    profile_with(family, {**effect, "reference_C": celsius})


@pytest.mark.parametrize("wrong", ["g_max_uS: -1", "g_max_uS: x", "g_min_uS: 99", "g_min_uS: .nan"])
def test_a_wrong_range_of_conductances_is_the_only_fault(tmp_path: Path, wrong: str) -> None:
    text = f"{GOOD.replace('ideal', 'pcm-ibm-2020')}cell: {{{wrong}, source: x}}\n"
    issues = validate_file(made(tmp_path, text))
    assert issues
    assert {issue.path[:7] for issue in issues} == {"cell.g_"}
