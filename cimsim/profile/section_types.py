"""Classes of the sections that a key of a profile accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from cimsim.profile.base import Section, is_kind_of

SectionTypes = tuple[type[Section], ...]


def inner_types(sections: SectionTypes, key: str) -> SectionTypes:
    """Return the classes that ``key`` accepts in any of ``sections``: of its value, or of the items
    of its list. Empty for numbers and text."""
    having = [section for section in sections if key in section.model_fields]
    return tuple(dict.fromkeys(inner for section in having for inner in _inner(section, key)))


def fitting_types(sections: SectionTypes, data: Mapping[str, Any]) -> SectionTypes:
    """Return the class with the ``kind`` of ``data``; all ``sections`` if none has this kind."""
    kind = data.get("kind")
    return tuple(section for section in sections if kind_of(section) == kind) or sections


def kind_of(section: type[Section]) -> str | None:
    """Return the ``kind`` that selects ``section``; None for a section without kinds."""
    field = section.model_fields.get("kind")
    return None if field is None else field.default


def keys_of(sections: SectionTypes) -> list[str]:
    """Return the keys of ``sections`` that an override can set, in order."""
    names = dict.fromkeys(name for section in sections for name in section.model_fields)
    return [name for name in names if name != "overrides"]


def required_keys(section: type[Section]) -> list[str]:
    """Return the keys without a default, in order."""
    return [name for name, field in section.model_fields.items() if field.is_required()]


@cache
def _inner(section: type[Section], key: str) -> SectionTypes:
    return tuple(_sections_in(section.model_fields[key].annotation))


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if is_kind_of(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)
