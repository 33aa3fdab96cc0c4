"""Whatever a file holds, the answer is a list of faults at places in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimError
from cimsim.profile import (
    ProfileError,
    load_profile,
    profile_names,
    profile_path,
    validate_file,
)

GOOD = profile_path("pcm-ibm-2020").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1:1: the file is empty"),
        (b"# only a comment\n", "1:1: the file is empty"),
        (b"- a\n- b\n", "1:1: a profile must consist of 'key: value' pairs"),
        (b"just words\n", "1:1: a profile must consist of 'key: value' pairs"),
        (b"a: 1\nb: 2\n", "1:1: not a profile; a profile begins with 'schema_version: 1'"),
        (b"a:\n\tb: 1\n", "2:1: a tab cannot indent or start a value in YAML; use spaces"),
        (b"name: x\ntitle: 'open\n", "3:1: while scanning a quoted scalar, found unexpected end"),
        (b"name: caf\xe9\n", "1:10: not a text file in UTF-8"),
        (b"name: x\ntitle: \x00\n", "2:8: not a text file: it contains characters that YAML for"),
        (GOOD.encode("utf-16"), "1:1: not a text file in UTF-8"),
        (b"[" * 100_000, "1:21: nested too deeply"),
        (b"a: {" * 10_000, ": nested too deeply"),
        (b"a: &x [1]\nb: *x\n", "1:4: anchors, aliases and tags are not supported"),
        (b"name: *x\n", "1:7: anchors, aliases and tags are not supported"),
        (b"name: !!python/object/apply:os.getcwd []\n", "1:7: anchors, aliases and tags are not"),
        (b"name: x\n---\nname: y\n", "2:1: expected a single document in the stream"),
        (b"name: x\n? [a, b]\n: 1\n", "2:3: a key must be a scalar"),
        (b"name: x\n<<: {title: y}\n", "2:1: unknown key '<<'"),
        (
            b"x" * 2_000_000,
            ": cannot read the profile: it is larger than the limit of 1000000 bytes",
        ),
    ],
)
def test_a_file_that_is_no_profile(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    assert any(message in line for line in str(caught.value).splitlines()), caught.value


def test_a_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, reason in {
        "missing.yaml": "No such file or directory",
        ".": "it is a folder",
        "pipe.yaml": "it is not a regular file",
        "a\0b.yaml": "embedded null",
        f"{'x' * 300}.yaml": "File name too long",
    }.items():
        (issue,) = validate_file(tmp_path / name)
        assert reason in str(issue)
        assert issue.line == 0


@pytest.mark.parametrize("encoded", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD])
def test_line_ends_and_byte_order_mark_do_not_matter(tmp_path: Path, encoded: str) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(encoded.encode())
    assert load_profile(file) == load_profile("pcm-ibm-2020")


def test_duplicate_keys_say_where_the_first_is(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(GOOD.replace("  technology: PCM", "  technology: PCM\n  technology: X"))
    (issue,) = validate_file(file)
    assert issue.message == f"duplicate key 'technology' (first on line {issue.line - 1})"


def test_words_that_yaml_would_change_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(
        GOOD.replace("name: pcm-ibm-2020", "name: no").replace("t0_s: 20.0", "t0_s: 1e-6")
    )
    profile = load_profile(file)
    assert profile.name == "no"
    assert [effect.t0_s for effect in profile.cell.drift] == [1e-6]  # type: ignore[union-attr]


def test_an_unknown_name_is_suggested_or_listed() -> None:
    with pytest.raises(CimsimError, match="did you mean 'pcm-ibm-2020'"):
        load_profile("pcm-ibm-2021")
    with pytest.raises(CimsimError, match="available: " + ", ".join(profile_names())):
        load_profile("")
    with pytest.raises(CimsimError, match="unknown profile 'nothing'"):
        profile_path("nothing")


def test_names_and_files_load_the_same() -> None:
    for name in profile_names():
        assert (
            load_profile(name)
            == load_profile(profile_path(name))
            == load_profile(str(profile_path(name)))
        )
        assert validate_file(profile_path(name)) == []


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
def test_any_bytes_are_answered_with_faults(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    assert validate_file(file)


ODD = st.sampled_from(
    ["", "~", "[]", "{}", "x", "-1", "1e999", ".nan", "[[]]", "{kind: x}", "'", "*a", "? ", "- "]
)


@given(st.data())
def test_any_damage_to_a_line_is_answered_with_places_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = GOOD.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    key = lines[number].partition(":")[0]
    lines[number] = f"{key}: {data.draw(ODD)}"
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    for issue in validate_file(file):
        assert 1 <= issue.line <= len(lines) + 1
        assert issue.column >= 1
        assert issue.message


def test_a_profile_that_is_loaded_is_not_loaded_again() -> None:
    with pytest.raises(CimsimError, match=r"expects a name or a file; change .*override_profile"):
        load_profile(load_profile("ideal"), ["adc.bits=4"])  # type: ignore[arg-type]
