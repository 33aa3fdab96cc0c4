"""Plain-data description of a profile, for rendering."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from cimsim.profile.base import BY_HAND, Curve, Section, Sourced
from cimsim.profile.effect import Effect
from cimsim.profile.model import Profile
from cimsim.suggest import UNITS, split_unit
from cimsim.units import format_duration


class Row(NamedTuple):
    """One value: its key, the value with its unit, its meaning and its source."""

    label: str
    value: str
    meaning: str
    source: str


class DescribedSection(NamedTuple):
    """A heading and the rows below it."""

    heading: str
    rows: list[Row]


def describe(profile: Profile) -> list[DescribedSection]:
    """Return all values of a profile by section, in the order of a file."""
    about = [
        Row("title", profile.title, "", ""),
        Row("description", " ".join(profile.description.split()), "", ""),
    ]
    sections = [DescribedSection(profile.name, about)]
    if profile.overrides:
        by_hand = [Row(*text.partition("=")[::2], "", BY_HAND) for text in profile.overrides]
        sections.append(DescribedSection(BY_HAND, by_hand))
    for name in Profile.model_fields:
        part = getattr(profile, name)
        if isinstance(part, Section):
            sections += _described(name, part)
    citations = [Row(key, " ".join(text.split()), "", "") for key, text in profile.sources.items()]
    return [*sections, DescribedSection("sources", citations)] if citations else sections


def equation(section: type[Section]) -> str:
    """Return the equation of a class: the indented lines of its docstring."""
    lines = (inspect.getdoc(section) or "").splitlines()
    return "\n".join(" ".join(line.split()) for line in lines if line.startswith("    "))


def _described(heading: str, section: Section) -> Iterator[DescribedSection]:
    rows: list[Row] = []
    inner: list[DescribedSection] = []
    if equation(type(section)) or hasattr(section, "kind"):
        summary = (inspect.getdoc(section) or "").partition("\n")[0]
        rows.append(Row("equation", equation(type(section)), summary, ""))
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if name in ("kind", "source"):
            continue
        if isinstance(value, tuple) and value and isinstance(value[0], Effect):
            for effect in value:
                inner += _described(f"{heading}.{name}.{effect.kind}", effect)
            continue
        if isinstance(value, Section) and not isinstance(value, Curve):
            kind = getattr(value, "kind", None)
            inner += _described(f"{heading}.{name}.{kind}" if kind else f"{heading}.{name}", value)
            continue
        source = section.source_of(name) if isinstance(section, Sourced) else None
        for label, text in _texts(name, value):
            rows.append(Row(label, text, field.description or "", source or ""))
    return iter([DescribedSection(heading, rows), *inner])


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the label and value of a field, with its unit; one item per line of a nested list."""
    if isinstance(value, tuple) and value and isinstance(value[0], (tuple, Curve)):
        for index, part in enumerate(value):
            yield f"{name}.{index}", _with_unit(name, part)
    else:
        yield name, _with_unit(name, value)


def _with_unit(name: str, value: Any) -> str:
    if value is None:
        return "ideal (null)" if name == "bits" else "none (null)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == ():
        return "none"
    if isinstance(value, Curve):
        return value.formula()
    if isinstance(value, str):
        return value
    numbers = value if isinstance(value, tuple) else (value,)
    unit = split_unit(name)[1]
    if unit == "s":
        return ", ".join(map(format_duration, numbers))
    text = ", ".join(map(_digits, numbers))
    return f"{text} {UNITS[unit]}" if unit else text


def _digits(number: float) -> str:
    """Format a number without an exponent.

    >>> _digits(1e-5), _digits(1000000.0), _digits(0.25)
    ('0.00001', '1000000', '0.25')
    """
    return format(Decimal(f"{number:.10g}"), "f")
