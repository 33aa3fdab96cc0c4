"""Overrides of single values of a profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cimsim.profile.base import BY_HAND, Section, Sourced, is_kind_of
from cimsim.profile.issues import Issue, ProfileError
from cimsim.profile.messages import explain
from cimsim.profile.model import Profile
from cimsim.profile.paths import KeyPath, dotted, shared_length, without_tags
from cimsim.profile.yaml_tree import parse
from cimsim.scalars import python_value
from cimsim.suggest import shortened, unknown


def override_profile(profile: Profile, overrides: Mapping[str, object] | Sequence[str]) -> Profile:
    """Return a copy of ``profile`` with some values set by hand.

    A key is a dotted path; an item of a list is named by its index or its kind, as in
    ``cell.drift.power-law.strength``. Values in text are parsed as in files, and numbers may be
    those of NumPy or torch. The overrides are stored in ``profile.overrides``, and the source of an
    overridden number becomes "set by hand". An absent section starts with its defaults if all of
    its keys have defaults.

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
    for assignment in _assignments(overrides, issues):
        try:
            changed, path = _assign(changed, assignment.key.split("."), assignment.value)
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
        issues += [_issue(detail, data, done) for detail in failure.errors(include_url=False)]
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


def _written(value: object) -> str:
    """Return the value as it would be written in a file."""
    if isinstance(value, str):
        tree, _ = parse(value, "")
        if tree is not None and tree.plain() == value:
            return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _assign(node: Any, keys: list[str], value: Any) -> tuple[Any, KeyPath]:
    """Return a copy of ``node`` with ``value`` at the path ``keys``, and the path with indices."""
    if not keys:
        return value, ()
    key, *rest = keys
    if isinstance(node, Section):
        known = [name for name in type(node).model_fields if name != "overrides"]
        if key not in known:
            raise _UnknownKeyError(unknown("key", key, known))
        old = getattr(node, key)
        if old is None and rest:
            old = _begun(type(node), key)
        sourced = isinstance(old, Sourced) or _may_be_sourced(type(node), key)
        inner, path = _assign(old, rest, value if rest else _with_source(value, sourced))
        update = {key: inner}
        has_own_source = key == "source" or isinstance(old, (tuple, Section))
        if isinstance(node, Sourced) and (key in node.numbers() or not has_own_source):
            update["source"] = node.source_when_set_by_hand(key)
        return node.model_copy(update=update), (key, *path)
    if isinstance(node, (list, tuple)):
        index = _index(node, key)
        inner, path = _assign(node[index], rest, value)
        return (*node[:index], inner, *node[index + 1 :]), (index, *path)
    if isinstance(node, Mapping):
        inner, path = _assign(node.get(key), rest, value)
        return {**node, key: inner}, (key, *path)
    raise _UnknownKeyError(f"unknown key '{key}'; this value has no keys")


def _plain(node: Any) -> Any:
    """Convert sections to mappings; ``model_dump`` raises TypeError for some wrong types."""
    if isinstance(node, Section):
        return {name: _plain(getattr(node, name)) for name in type(node).model_fields}
    if isinstance(node, (list, tuple)):
        return tuple(map(_plain, node))
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return node


def _with_source(value: Any, sourced: bool) -> Any:
    """Add the source "set by hand" to a whole section, or to each effect of a list."""
    if isinstance(value, (list, tuple)):
        return tuple(_with_source(item, sourced=False) for item in value)
    if isinstance(value, Mapping) and ("kind" in value or sourced):
        return {"source": BY_HAND, **value}
    return value


def _begun(section: type[Section], key: str) -> Section | None:
    """Return an absent section with its defaults; None if a key has no default."""
    for part in get_args(section.model_fields[key].annotation):
        if is_kind_of(part, Section):
            absent: type[Section] = part
            if not any(field.is_required() for field in absent.model_fields.values()):
                return absent()
    return None


def _may_be_sourced(section: type[Section], key: str) -> bool:
    """Return whether an absent value would be a section with sources."""
    parts = get_args(section.model_fields[key].annotation)
    return any(is_kind_of(part, Sourced) for part in parts)


def _index(items: Sequence[Any], key: str) -> int:
    indices = [str(index) for index in range(len(items))]
    if key in indices:
        return indices.index(key)
    kinds = [getattr(item, "kind", "") for item in items]
    if kinds.count(key) > 1:
        places = [index for index, kind in zip(indices, kinds, strict=True) if kind == key]
        raise _UnknownKeyError(
            f"several items are '{key}'; select one by its index: {', '.join(places)}"
        )
    if key not in kinds:
        raise _UnknownKeyError(unknown("item", key, [kind for kind in kinds if kind]))
    return kinds.index(key)


def _issue(detail: ErrorDetails, data: Any, done: dict[KeyPath, _Assignment]) -> Issue:
    """Return the issue, attributed to the override whose path matches its location best."""
    loc = without_tags(detail["loc"], data)
    path = max(done, key=lambda path: shared_length(path, loc))
    message = explain(detail)
    return done[path].issue(message if loc == path else f"{dotted(loc)}: {message}")
