"""Messages for pydantic's errors, worded for the author of a YAML file."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import ErrorDetails

from cimsim.profile.yaml_scalars import parse_scalar
from cimsim.suggest import nearest, unknown

_WITH_UNIT = re.compile(r"[-+]?(?!0x)[0-9.]+([eE][-+]?[0-9]+)?\s*[^\W\d_]\S*")
_NUMBER_TYPES = ("float_type", "int_type", "int_from_float")


def explain(detail: ErrorDetails) -> str:
    """Return one sentence: what a value must be, and what was given."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _NUMBER_TYPES:
        return _not_a_number("a whole number" if kind.startswith("int") else "a number", value)
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']+)'", context["expected_tags"])
        tag = value["kind"]
        return unknown("kind", tag, known) if isinstance(tag, str) else f"must be text {_got(tag)}"
    if kind == "union_tag_not_found":
        return "missing key 'kind', which selects the equation of this effect"
    if kind == "literal_error":
        return _not_one_of(str(context["expected"]), value)
    if kind == "string_type":
        quotes = "; put quotes around it" if isinstance(value, (int, float)) else ""
        return f"must be text{quotes} {_got(value)}"
    if kind == "value_error":
        return str(context["error"])
    return _SENTENCES.get(kind, "{msg}").format_map(
        {"msg": detail["msg"], "got": _got(value), **context}
    )


_SECTION = "must be a section of 'key: value' pairs {got}"
_SENTENCES = {
    "finite_number": "must be a finite number {got}",
    "greater_than": "must be greater than {gt:g} {got}",
    "greater_than_equal": "must be {ge:g} or more {got}",
    "less_than_equal": "must be {le:g} or less {got}",
    "missing": "a value is missing here",
    "string_too_long": "must not be longer than {max_length} characters",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list, such as [a, b] {got}",
    "too_short": "must not be an empty list",
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "dict_type": _SECTION,
}


def _not_a_number(expected: str, value: Any) -> str:
    if isinstance(value, str) and _WITH_UNIT.fullmatch(value):
        return f"must be a number without a unit; the key contains the unit {_got(value)}"
    if isinstance(value, str) and isinstance(parse_scalar(value), (int, float)):
        return f"must be {expected}; leave out the quotes {_got(value)}"
    return f"must be {expected} {_got(value)}"


def _not_one_of(expected: str, value: Any) -> str:
    near = nearest(str(value), re.findall(r"'([^']+)'", expected))
    hint = f"; did you mean '{near}'?" if near else ""
    return f"must be {expected} {_got(value)}{hint}"


def _got(value: Any) -> str:
    return f"(got {_text_of(value)})"


def _text_of(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
