"""Tables of the keys of a profile, made from the pydantic models that read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cimsim.profile import Profile

Section = Profile.__mro__[1]  # the class of all parts of a profile

_WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
_LARGEST_LIMIT = 1e6  # beyond, a limit keeps numbers finite and says nothing about devices


def key_table(model: type[BaseModel]) -> list[str]:
    """Return a table of the fields of ``model`` in reStructuredText; empty without fields."""
    fields = {name: field for name, field in model.model_fields.items() if name != "source"}
    if not fields:
        return []
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", "   :class: keys", ""]
    lines += _row("key", "value", "default", "meaning")
    for name, field in fields.items():
        lines += _row(f"``{name}``", _value(field), _default(field), escaped(field.description))
    return [*lines, ""]


def sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a field of this type may hold, in order."""
    if isinstance(annotation, type):
        if issubclass(annotation, Section):
            yield annotation
        return
    for inner in get_args(annotation):
        yield from sections_of(inner)


def kind_of(section: type[BaseModel]) -> str | None:
    """Return the word under ``kind`` that selects ``section``, if there is one."""
    field = section.model_fields.get("kind")
    return get_args(field.annotation)[0] if field is not None else None


def escaped(text: str | None) -> str:
    """Escape ``text`` so that reStructuredText shows it unchanged."""
    for mark in "\\*`|_":
        text = (text or "").replace(mark, f"\\{mark}")
    return text or ""


def _row(*cells: str) -> list[str]:
    return [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(cells)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "null"
    if isinstance(default, BaseModel):
        return f"``{getattr(default, 'kind', '{}')}``"
    if isinstance(default, tuple | list | dict):
        return f"``{list(default)}``"
    return f"``{default!r}``" if default == "" else f"``{default}``"


def _value(field: FieldInfo) -> str:
    text = " or ".join(dict.fromkeys(_words(field.annotation)))
    for name, sign in _LIMITS:
        limits = [getattr(mark, name) for mark in field.metadata if hasattr(mark, name)]
        text += "".join(f", {sign} {limit:g}" for limit in limits if abs(limit) < _LARGEST_LIMIT)
    return text


def _words(annotation: Any) -> Iterator[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is NoneType:
        yield "null"
    elif origin is Annotated:
        yield from _words(inner[0])
    elif origin in (Union, UnionType):
        for each in inner:
            yield from _words(each)
    elif origin is Literal:
        yield from (f"``{word}``" for word in inner)
    elif origin in (tuple, list):
        words = dict.fromkeys(word for each in inner if each is not ... for word in _words(each))
        yield "list of " + " or ".join(words)
    elif origin is dict:
        yield "mapping"
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield f":ref:`{kind_of(annotation) or annotation.__name__} <{label(annotation)}>`"
    else:
        yield _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def label(section: type[BaseModel]) -> str:
    """Return the label of the place that explains ``section``."""
    return re.sub(r"[._]", "-", f"key-{section.__module__}.{section.__name__}".lower())
