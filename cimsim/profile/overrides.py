"""Overrides of single values of a profile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from cimsim.profile.base import BY_HAND, Section, Sourced
from cimsim.profile.issues import Issue, ProfileError
from cimsim.profile.messages import explain
from cimsim.profile.model import Profile
from cimsim.profile.paths import KeyPath, dotted, shared_length, without_tags
from cimsim.profile.section_types import (
    SectionTypes,
    fitting_types,
    inner_types,
    keys_of,
    kind_of,
    required_keys,
)
from cimsim.profile.yaml_tree import parse
from cimsim.scalars import python_value
from cimsim.suggest import shortened, unknown


def override_profile(profile: Profile, overrides: Mapping[str, object] | Sequence[str]) -> Profile:
    """Return a copy of ``profile`` with some values set by hand.

    A key is a dotted path; an item of a list is named by its index or its kind, as in
    ``cell.drift.power-law.strength``. Values in text are parsed as in files, and numbers may be
    those of NumPy or torch. The overrides are stored in ``profile.overrides``, and the source of an
    overridden number becomes "set by hand".

    The overrides of one call apply together. A section with a new ``kind`` has the defaults of that
    kind, and an absent section its defaults; other overrides of the call set the keys without a
    default.

    Args:
        overrides: ``["adc.bits=4"]`` or ``{"adc.bits": 4}``.

    Raises:
        ProfileError: if a key is unknown or a value is invalid; it lists every such override.

    >>> from cimsim.profile import load_profile
    >>> override_profile(load_profile("pcm-ibm-2020"), {"adc.bits": 4}).overrides
    ('adc.bits=4',)
    """
    if isinstance(overrides, str):
        overrides = [overrides]
    if not overrides:
        return profile
    issues: list[Issue] = []
    done: dict[KeyPath, _Assignment] = {}
    changed = profile
    for assignment in _kinds_first(_assignments(overrides, issues)):
        keys = assignment.key.split(".")
        try:
            changed, path = _assign(changed, (Profile,), keys, assignment.value)
        except _UnknownKeyError as error:
            issues.append(assignment.issue(str(error)))
        else:
            done[path] = assignment
    new = {assignment.key: assignment.text for assignment in done.values()}
    kept = [text for text in profile.overrides if text.partition("=")[0] not in new]
    data = _plain(changed) | {"overrides": (*kept, *new.values())}
    try:
        overridden = Profile.model_validate(data)
    except ValidationError as failure:
        details = failure.errors(include_url=False)
        # Without duplicates: an absent section is one issue, even if it lacks several keys.
        issues += dict.fromkeys(_issue(detail, profile, data, done) for detail in details)
    if issues:
        raise ProfileError(issues)
    return overridden


def overridden_keys(overrides: Mapping[str, object] | Sequence[str]) -> Iterator[str]:
    """Yield the dotted key of every value in ``overrides``; those of a section are named one by
    one.

    >>> list(overridden_keys(["adc.bits=4", "dac={bits: 6, range: {kind: max}}"]))
    ['adc.bits', 'dac.bits', 'dac.range.kind']
    """
    for assignment in _assignments(overrides, []):
        yield from _keys_of_values(assignment.key, assignment.value)


def _keys_of_values(key: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner, content in value.items():
            yield from _keys_of_values(f"{key}.{inner}", content)
    else:
        yield key


class _UnknownKeyError(Exception):
    """The key does not exist."""


@dataclass(frozen=True)
class _Assignment:
    """One override: key, value, and its text."""

    key: str
    value: Any
    text: str

    def issue(self, message: str) -> Issue:
        return Issue(_place(self.text), 0, 0, "", message)


def _place(text: str) -> str:
    """Return an override as it was typed, with a long value shortened."""
    key, equals, value = text.partition("=")
    return f"{key}{equals}{shortened(value)}" or "''"


def _assignments(
    overrides: Mapping[str, object] | Sequence[str], issues: list[Issue]
) -> Iterator[_Assignment]:
    if isinstance(overrides, Mapping):
        for key, given in overrides.items():
            value = python_value(given)
            yield _Assignment(key, value, f"{key}={_written(value)}")
        return
    for text in overrides:
        key, equals, written = text.partition("=")
        place = _place(text)
        if not (key.strip() and equals and written.strip()):
            issues.append(
                Issue(place, 0, 0, "", "must have the form key.path=value, like adc.bits=4")
            )
            continue
        tree, wrong = parse(written, place)
        issues += [Issue(place, 0, 0, "", issue.message) for issue in wrong]
        if tree is not None:
            yield _Assignment(key.strip(), tree.plain(), f"{key.strip()}={written.strip()}")


def _kinds_first(assignments: Iterable[_Assignment]) -> list[_Assignment]:
    """Move each ``section.kind`` before the other keys of the section, which depend on the kind."""
    ordered: list[_Assignment] = []
    for assignment in assignments:
        section, _, last = assignment.key.rpartition(".")
        at = len(ordered)
        if last == "kind":
            keys = [f"{earlier.key}." for earlier in ordered]
            whole = [i for i, key in enumerate(keys) if f"{section}.".startswith(key)]
            first = whole[-1] + 1 if whole else 0
            inner = (
                i
                for i in range(first, at)
                if keys[i].startswith(f"{section}.") and ordered[i].key != assignment.key
            )
            at = next(inner, at)
        ordered.insert(at, assignment)
    return ordered


def _written(value: object) -> str:
    """Return the value as it would be written in a file."""
    if isinstance(value, str):
        tree, _ = parse(value, "")
        if tree is not None and tree.plain() == value:
            return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _assign(node: Any, sections: SectionTypes, keys: list[str], value: Any) -> tuple[Any, KeyPath]:
    """Return a copy of ``node`` with ``value`` at the path ``keys``, and the path with indices.

    ``sections`` are the classes that ``node``, or each of its items, can have.
    """
    if not keys:
        return _by_hand(value, sections), ()
    key, *rest = keys
    is_of_another_kind = keys == ["kind"] and _kind(node) not in (None, value)
    if (node is None and sections) or (is_of_another_kind and len(sections) > 1):
        node = _begun(sections)
    if isinstance(node, Section):
        return _assign_in_section(node, key, rest, value)
    if isinstance(node, (list, tuple)):
        index = _index(node, key)
        inner, path = _assign(node[index], sections, rest, value)
        return (*node[:index], inner, *node[index + 1 :]), (index, *path)
    if isinstance(node, Mapping):
        return _assign_in_mapping(node, sections, key, rest, value)
    raise _UnknownKeyError(f"unknown key '{key}'; this value has no keys")


def _assign_in_section(
    node: Section, key: str, rest: list[str], value: Any
) -> tuple[Section, KeyPath]:
    own = (type(node),)
    _require_known(key, own)
    old = getattr(node, key)
    inner, path = _assign(old, inner_types(own, key), rest, value)
    update = {key: inner}
    has_own_source = key == "source" or isinstance(old, (tuple, Section)) or bool(rest)
    if isinstance(node, Sourced) and (key in node.numbers() or not has_own_source):
        update["source"] = node.source_when_set_by_hand(key)
    return node.model_copy(update=update), (key, *path)


def _assign_in_mapping(
    node: Mapping[str, Any], sections: SectionTypes, key: str, rest: list[str], value: Any
) -> tuple[dict[str, Any], KeyPath]:
    """Assign in a section that other overrides set, or in a mapping such as ``sources``."""
    fitting = fitting_types(sections, node)
    if sections:
        _require_known(key, fitting)
    old = node[key] if key in node else _default(fitting, key)
    inner, path = _assign(old, inner_types(fitting, key), rest, value)
    update = {key: inner}
    if key != "source" and isinstance(node.get("source"), Mapping):
        update["source"] = {**node["source"], key: BY_HAND}
    return {**node, **update}, (key, *path)


def _require_known(key: str, sections: SectionTypes) -> None:
    known = keys_of(sections)
    if key not in known:
        raise _UnknownKeyError(unknown("key", key, known))


def _default(sections: SectionTypes, key: str) -> Any:
    """Return the default of ``key``; None if it is required, or if the class is not determined."""
    if len(sections) != 1:
        return None
    default = sections[0].model_fields[key].get_default(call_default_factory=True)
    return None if default is PydanticUndefined else default


def _kind(node: Any) -> str | None:
    """Return the kind of a section; None if it has none."""
    kind = node.get("kind") if isinstance(node, Mapping) else getattr(node, "kind", None)
    return kind if isinstance(kind, str) else None


def _begun(sections: SectionTypes) -> Section | dict[str, Any]:
    """Return an absent section with its defaults; empty if keys without a default are missing."""
    if len(sections) == 1 and not required_keys(sections[0]):
        return sections[0]()
    return {"source": {}} if issubclass(sections[0], Sourced) else {}


def _plain(node: Any) -> Any:
    """Convert sections to mappings; ``model_dump`` raises TypeError for some wrong types."""
    if isinstance(node, Section):
        return {name: _plain(getattr(node, name)) for name in type(node).model_fields}
    if isinstance(node, (list, tuple)):
        return tuple(map(_plain, node))
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return node


def _by_hand(value: Any, sections: SectionTypes, inside: bool = False) -> Any:
    """Return ``value`` with the source "set by hand" for a whole section or each effect of a list.

    A section ``inside`` another gets one only for its numbers.
    """
    if isinstance(value, (list, tuple)):
        return tuple(_by_hand(item, sections, inside) for item in value)
    if not isinstance(value, Mapping) or not sections:
        return value
    fitting = fitting_types(sections, value)
    whole = {k: _by_hand(item, inner_types(fitting, k), inside=True) for k, item in value.items()}
    numbers = [n for section in fitting if issubclass(section, Sourced) for n in section.numbers()]
    sourced = issubclass(fitting[0], Sourced)
    if sourced and (not inside or any(name in value for name in numbers)):
        return {"source": BY_HAND, **whole}
    return whole


def _index(items: Sequence[Any], key: str) -> int:
    indices = [str(index) for index in range(len(items))]
    if key in indices:
        return indices.index(key)
    kinds = [_kind(item) or "" for item in items]
    if kinds.count(key) > 1:
        places = [index for index, kind in zip(indices, kinds, strict=True) if kind == key]
        raise _UnknownKeyError(
            f"several items are '{key}'; select one by its index: {', '.join(places)}"
        )
    if key not in kinds:
        raise _UnknownKeyError(unknown("item", key, [kind for kind in kinds if kind]))
    return kinds.index(key)


def _issue(
    detail: ErrorDetails, profile: Profile, data: Any, done: dict[KeyPath, _Assignment]
) -> Issue:
    """Return the issue, attributed to the override whose path matches its location best."""
    loc = without_tags(detail["loc"], data)
    path = max(done, key=lambda path: shared_length(path, loc))
    is_missing = detail["type"] in ("missing_key", "union_tag_not_found")
    where = loc[:-1] if detail["type"] in ("missing_key", "unknown_key") else loc
    if is_missing and _is_begun(where, profile, done):
        return done[path].issue(_of_absent(where, data))
    message = explain(detail)
    return done[path].issue(message if where == path else f"{dotted(where)}: {message}")


def _is_begun(section: KeyPath, profile: Profile, done: dict[KeyPath, _Assignment]) -> bool:
    """Return whether ``profile`` lacks a section of which only single keys were set."""
    inside = any(len(path) > len(section) == shared_length(path, section) for path in done)
    keys_only = inside and section not in done
    return keys_only and _value_at(profile.model_dump(), section) is None


def _of_absent(section: KeyPath, data: Any) -> str:
    """Return a sentence that a section is absent, with the keys to write."""
    given = _value_at(data, section)
    sections: SectionTypes = (Profile,)
    for part in section:
        sections = inner_types(sections, part) if isinstance(part, str) else sections
    fitting = fitting_types(sections, given)
    likely = next((s for s in fitting if given.keys() <= s.model_fields.keys()), fitting[0])
    keys = [f"{name}: ..." for name in required_keys(likely)]
    if len(sections) > 1:
        keys.insert(0, f"kind: {kind_of(likely)}")
    where = dotted(section)
    whole = f"{where}={{{', '.join(keys)}}}"
    return f"this profile has no '{where}'; set the whole section, as in '{whole}'"


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data
