"""Values set by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimError
from cimsim.profile import (
    Issue,
    Profile,
    ProfileError,
    dump_profile,
    load_profile,
    override_profile,
    profile_names,
)
from cimsim.profile.base import Section
from cimsim.profile.yaml_tree import parse
from cimsim.scalars import python_value
from cimsim.terminal import one_line

PCM = load_profile("pcm-ibm-2020")


def test_a_number_is_set_and_recorded() -> None:
    profile = load_profile("pcm-ibm-2020", ["adc.bits=4", "dac.bits=null"])
    assert (profile.adc.bits, profile.dac.bits) == (4, None)
    assert profile.overrides == ("adc.bits=4", "dac.bits=null")


def test_a_mapping_and_text_mean_the_same() -> None:
    values: dict[str, object] = {
        "dac.bits": None,
        "cell.g_max_uS": 30,
        "adc.noise_of_range": 1e-6,
        "array.drift_compensation": "none",
        "title": "yes: no",
    }
    texts = [
        "dac.bits=null",
        "cell.g_max_uS=30",
        "adc.noise_of_range=1e-06",
        "array.drift_compensation=none",
        'title="yes: no"',
    ]
    assert override_profile(PCM, values) == override_profile(PCM, texts)


def test_items_of_lists_are_named_by_kind_or_index() -> None:
    by_kind = override_profile(PCM, ["cell.drift.power-law.strength=0"])
    by_index = override_profile(PCM, ["cell.drift.0.strength=0"])
    assert by_kind.cell == by_index.cell
    assert by_kind.cell.drift[0].strength == 0


def test_two_items_of_one_kind_need_an_index() -> None:
    noise = "{kind: gaussian, sigma_of_g_max: 0.1}"
    two = override_profile(PCM, [f"cell.read_noise=[{noise}, {noise}]"])
    with pytest.raises(ProfileError, match="select one by its index: 0, 1"):
        override_profile(two, ["cell.read_noise.gaussian.strength=0"])
    one = override_profile(two, ["cell.read_noise.1.strength=0"])
    assert [effect.strength for effect in one.cell.read_noise] == [1, 0]


def test_no_source_is_claimed_for_a_changed_number() -> None:
    profile = override_profile(PCM, ["cell.read_noise.one-over-f.q.max=0.1", "array.rows=64"])
    noise = profile.cell.read_noise[0]
    assert noise.source_of("q") == "set by hand"
    assert noise.source_of("t_read_ns") == PCM.cell.read_noise[0].source_of("t_read_ns")
    assert profile.array.source_of("rows") == "set by hand"
    assert profile.array.source_of("columns") == PCM.array.source


def test_a_number_without_a_source_can_be_set_by_hand() -> None:
    assert load_profile("ideal", ["adc.bits=8"]).adc.source_of("bits") == "set by hand"


def test_whole_sections_and_lists_can_be_set_by_hand() -> None:
    profile = override_profile(PCM, ["cell.drift=[]", "adc={bits: 3}"])
    assert profile.cell.drift == ()
    assert profile.cell.source == PCM.cell.source
    assert profile.adc.source == "set by hand"


def test_the_last_of_two_overrides_counts_and_is_recorded() -> None:
    profile = override_profile(override_profile(PCM, "adc.bits=4"), ["adc.bits=5", "adc.bits=6"])
    assert profile.adc.bits == 6
    assert profile.overrides == ("adc.bits=6",)


def test_two_overrides_that_are_right_only_together() -> None:
    profile = override_profile(PCM, ["cell.g_min_uS=30", "cell.g_max_uS=60"])
    assert (profile.cell.g_min_uS, profile.cell.g_max_uS) == (30, 60)


def test_what_was_just_set_can_be_set_in_detail() -> None:
    profile = override_profile(PCM, ["adc={bits: 3}", "adc.bits = 4", "sources.me2026=my notes"])
    assert profile.adc.bits == 4
    assert profile.sources["me2026"] == "my notes"
    assert profile.overrides == ("adc={bits: 3}", "adc.bits=4", "sources.me2026=my notes")


def test_nothing_set_is_the_same_profile() -> None:
    assert override_profile(PCM, ()) is PCM
    assert override_profile(PCM, {}) is PCM


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adc.bit=4", "unknown key 'bit'; did you mean 'bits'?"),
        ("cel.g_max_uS=4", "unknown key 'cel'; did you mean 'cell'?"),
        ("cell.g_max=4", "unknown key 'g_max'; did you mean 'g_max_uS'?"),
        ("adc.bits=abc", "must be a whole number (got 'abc')"),
        ("adc.bits=010", "must be a whole number (got '010')"),
        ("adc.bits=0", "must be 1 or more (got 0)"),
        ("adc.bits.x=1", "unknown key 'x'; this value has no keys"),
        ("adc.bits", "must have the form key.path=value, like adc.bits=4"),
        ("adc.bits=", "must have the form key.path=value, like adc.bits=4"),
        ("=4", "must have the form key.path=value, like adc.bits=4"),
        ("adc.bits=[4", "while parsing a flow sequence"),
        ("adc.bits=*a", "anchors, aliases and tags are not supported"),
        (f"cell.drift.{'9' * 5000}=0", "available: power-law"),
        ("cell.drift.3.strength=0", "unknown item '3'; available: power-law"),
        ("cell.drift.powerlaw.strength=0", "unknown item 'powerlaw'; did you mean 'power-law'?"),
        ("cell.g_max_uS=25 uS", "must be a number without a unit; the key contains the unit"),
        ("cell.g_min_uS=30", "cell.g_max_uS: g_max_uS must be larger than g_min_uS"),
        ("cell.drift=[{kind: x}]", "cell.drift.0: unknown kind 'x'; available: power-law"),
        ("overrides=[]", "unknown key 'overrides'"),
        ("extends=ideal", "unknown key 'extends'"),
        ("schema_version=2", "must be 1 (got 2)"),
    ],
)
def test_what_is_refused_is_named_with_the_override(override: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("pcm-ibm-2020", [override])
    assert str(caught.value).startswith(f"{override}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("adc.bits", np.int64(4)),
        ("adc.bits", torch.tensor(4)),
        ("cell.g_max_uS", np.float32(0.1)),
        ("adc.noise_of_range", torch.tensor(0.1)),
        ("dac.bit_serial", np.bool_(True)),
        ("cell.programming_noise.state-dependent.sigma_uS.coefficients", np.array([0.1, 0.2])),
        ("cell.faults", [{"kind": "stuck", "at": "g_min", "rate": np.float64(0.1)}]),
    ],
    ids=str,
)
def test_numbers_of_numpy_and_torch_are_numbers(key: str, value: Any) -> None:
    of_python = python_value(value)
    profile = override_profile(PCM, {key: value})
    assert profile == override_profile(PCM, {key: of_python})
    assert override_profile(PCM, profile.overrides) == profile


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "4", 4.0, [], {}, object()])
def test_values_from_python_follow_the_same_rules(value: Any) -> None:
    with pytest.raises(ProfileError, match=r"adc.bits="):
        override_profile(PCM, {"adc.bits": value})


def test_all_wrong_overrides_are_named_at_once() -> None:
    with pytest.raises(ProfileError) as caught:
        override_profile(PCM, ["adc.bits=0", "dac.bit=3", "dac.bits=6", "array.rows=x", "nonsense"])
    assert [issue.file for issue in caught.value.issues] == [
        "adc.bits=0",
        "array.rows=x",
        "dac.bit=3",
        "nonsense",
    ]


@given(st.text(max_size=30))
def test_any_title_is_kept_by_record_and_dump(title: str) -> None:
    if not title:
        return
    profile = override_profile(PCM, {"title": title})
    assert profile.title == title
    (record,) = profile.overrides
    if title.isprintable():
        tree, issues = parse(record.partition("=")[2], "")
        assert not issues
        assert tree is not None
        assert tree.plain() == title
        assert dump_profile(profile)


KEYS = st.sampled_from(
    [
        "adc.bits",
        "cell",
        "cell.drift.0",
        "cell.drift",
        "cell.drift.power-law.nu_mean.max",
        "sources",
    ]
)
ODD = st.sampled_from(["{}", "[]", "[[]]", "{kind: [a]}", "[{kind: gaussian}]", "~", "x", "[1, 2]"])


@given(st.text(max_size=20) | st.builds("{}={}".format, KEYS, ODD | st.text(max_size=9)))
def test_any_override_gives_a_profile_or_a_fault(override: str) -> None:
    try:
        answer: object = override_profile(PCM, [override])
    except CimsimError as error:
        answer = str(error)
    key = one_line(override.partition("=")[0][:10])
    assert isinstance(answer, Profile) or str(answer).startswith(key)


def keys_of(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[type[Section], str, str]]:
    """Each key of each section: the section, the key, and the path that sets it."""
    if isinstance(node, Section):
        for key in type(node).model_fields:
            yield type(node), key, ".".join((*path, key))
            yield from keys_of(getattr(node, key), (*path, key))
    elif isinstance(node, tuple):
        for index, item in enumerate(node):
            yield from keys_of(item, (*path, str(index)))


def named_in_answer(profile: Profile, override: str) -> str:
    """The override that the new profile records, or that the refusal names."""
    try:
        (recorded,) = override_profile(profile, [override]).overrides
    except ProfileError as error:
        return str(error)[: len(override)]
    return recorded


def test_every_key_of_every_section_takes_any_value_or_says_why_not() -> None:
    """Each kind of section once, in a shipped profile that has it."""
    seen: set[tuple[type[Section], str]] = set()
    for name in profile_names():
        profile = load_profile(name)
        for section, key, path in keys_of(profile):
            if (section, key) in seen:
                continue
            seen.add((section, key))
            for value in ("x", "1", "~", "{}", "[]", "{a: 1}", "{kind: x}", "[{kind: x}]"):
                for place in (path, f"{path}.source", f"{path}.x"):
                    override = f"{place}={value}"
                    assert named_in_answer(profile, override) == override
    named = {(type(PCM.adc), "source"), (type(PCM.array), "source"), (type(PCM.cell), "drift")}
    assert named < seen


def test_the_source_of_a_section_is_set_by_hand() -> None:
    for section in ("cell", "array", "dac", "adc"):
        profile = load_profile("ideal", [f"{section}.source=my own notes"])
        assert getattr(profile, section).source == "my own notes"


def test_a_section_that_is_absent_begins_with_its_defaults() -> None:
    wires = load_profile("pcm-ibm-2020", ["wires.r_bit_ohm=2"]).wires
    assert wires is not None
    assert (wires.r_bit_ohm, wires.r_word_ohm) == (2, 0)


@pytest.mark.parametrize("value", ["{a: 1}", "[[1]]", "{kind: {a: 1}}", "[{kind: [x]}]", "{}"])
@pytest.mark.parametrize("name", ["pcm-ibm-2020", "reram-cmo-2025"])
def test_a_value_of_any_type_at_any_key_is_taken_or_refused(name: str, value: str) -> None:
    profile = load_profile(name)
    for key in _keys(profile.model_dump()):
        assignment = f"{key}={value}"
        issues = _faults(partial(override_profile, profile, [assignment]))
        assert all(str(issue).startswith(assignment) for issue in issues)


def _faults(load: Callable[[], Profile]) -> list[Issue]:
    try:
        load()
    except ProfileError as error:
        return error.issues
    return []


def _keys(data: Any, start: str = "") -> Iterator[str]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, inner in pairs:
        yield f"{start}{key}"
        if isinstance(inner, dict | list | tuple):
            yield from _keys(inner, f"{start}{key}.")
