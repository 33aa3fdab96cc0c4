"""Parsing of unquoted scalars in profiles.

YAML 1.1, as implemented by PyYAML, reads ``1e-6`` as text, ``no`` as false, ``010`` as eight and
``12:30:00`` as 45000. Here only numbers in Python notation are numbers; the rest is text.
"""

from __future__ import annotations

import re

Scalar = bool | int | float | str | None

_WORDS: dict[str, Scalar] = {"": None, "~": None}
_WORDS |= {form: None for form in ("null", "Null", "NULL")}
_WORDS |= {form: True for form in ("true", "True", "TRUE")}
_WORDS |= {form: False for form in ("false", "False", "FALSE")}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
)
_NAN = re.compile(r"\.(nan|NaN|NAN)")


def parse_scalar(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    >>> parse_scalar("1e-6"), parse_scalar("no"), parse_scalar("010"), parse_scalar("null")
    (1e-06, 'no', '010', None)
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _NAN.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
