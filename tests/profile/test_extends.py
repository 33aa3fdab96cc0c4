"""A profile can build on another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.profile import Profile, ProfileError, load_profile, validate_file


def written(folder: Path, **files: str) -> Path:
    """Writes files and returns the first."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(files))}.yaml"


def loaded(folder: Path, **files: str) -> Profile:
    return load_profile(written(folder, **files))


def test_only_what_is_given_changes(tmp_path: Path) -> None:
    base = load_profile("pcm-ibm-2020")
    mine = loaded(
        tmp_path,
        mine="extends: pcm-ibm-2020\nname: mine\nadc: {bits: 6, source: my chip}\n",
    )
    assert mine.adc.bits == 6
    assert mine.model_copy(update={"name": base.name, "adc": base.adc}) == base


def test_lists_replace_and_mappings_merge(tmp_path: Path) -> None:
    mine = loaded(
        tmp_path,
        mine="extends: pcm-ibm-2020\nname: mine\ncell: {drift: []}\nsources: {me2026: mine}\n",
    )
    assert mine.cell.drift == ()
    assert mine.cell.programming_noise == load_profile("pcm-ibm-2020").cell.programming_noise
    assert {"me2026", "joshi2020"} <= set(mine.sources)


def test_relative_files_and_chains(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    mine = loaded(
        tmp_path,
        mine="extends: deeper/middle.yaml\nname: mine\ndac: {bits: 5, source: me}\n",
        **{"deeper/middle": "extends: ../base.yaml\nname: m\ntitle: middle\n"},
        base="extends: ideal\nname: b\ntitle: base\nadc: {bits: 7, source: base}\n",
    )
    assert (mine.title, mine.dac.bits, mine.adc.bits) == ("middle", 5, 7)


def test_a_replaced_number_does_not_keep_the_source_of_the_old_one(tmp_path: Path) -> None:
    file = written(tmp_path, mine="extends: pcm-ibm-2020\nname: mine\narray:\n  rows: 64\n")
    (issue,) = validate_file(file)
    assert (issue.line, issue.path) == (4, "array.rows")
    assert "no source for 'rows'" in issue.message
    mine = loaded(
        tmp_path,
        mine="extends: pcm-ibm-2020\nname: mine\narray: {rows: 64, source: {rows: my chip}}\n",
    )
    assert mine.array.source_of("rows") == "my chip"
    assert "rasch2023" in (mine.array.source_of("columns") or "")


def test_a_section_can_get_another_source_as_a_whole(tmp_path: Path) -> None:
    mine = loaded(tmp_path, mine="extends: pcm-ibm-2020\nname: mine\narray: {source: mine}\n")
    assert mine.array.source == "mine"


def test_the_name_is_not_inherited(tmp_path: Path) -> None:
    (issue,) = validate_file(written(tmp_path, mine="extends: ideal\n"))
    assert "missing key 'name'" in issue.message


def test_faults_point_into_the_file_that_holds_the_key(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        mine="extends: ./base.yaml\nname: mine\nadc:\n  bits: 99\n  source: me\n",
        base="extends: ideal\nname: base\ndac:\n  bits: 1\n  source: me\n",
    )
    assert [(Path(issue.file).name, issue.line) for issue in validate_file(file)] == [
        ("base.yaml", 4),
        ("mine.yaml", 4),
    ]


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("./mine.yaml", "a profile cannot extend itself: "),
        ("./other.yaml", "a profile cannot extend itself: "),
        ("pcm-ibm-2021", "did you mean 'pcm-ibm-2020'?"),
        ("[ideal]", "must be the name or file of a profile"),
        ("./nowhere.yaml", "nowhere.yaml: cannot read the profile: No such file"),
        ('"a\\0b.yaml"', "embedded null"),
        ("./list.yaml", "list.yaml:1:1: a profile must consist of"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, extends: str, message: str) -> None:
    file = written(
        tmp_path,
        mine=f"extends: {extends}\nname: mine\n",
        other="extends: ./mine.yaml\nname: other\n",
        list="- 1\n",
    )
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    assert message in str(caught.value)
