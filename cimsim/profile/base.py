"""Base classes of all profile sections: they check keys and require a source for each number."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from cimsim.profile.fields import KnobMark, Source
from cimsim.suggest import nearest, shortened, unknown

BY_HAND = "set by hand"
# Finding the nearest known key is slow; a file with more unknown keys does not contain typos.
_MOST_GUESSES = 100

_Section = TypeVar("_Section", bound="Section")


class Section(BaseModel):
    """A frozen section of a profile that rejects unknown keys."""

    # Validators are built on first use: `cimsim --help` needs none.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the keys that this section accepts in a file."""
        return list(cls.model_fields)

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_issue(
        cls: type[_Section], data: Any, handler: ModelWrapValidatorHandler[_Section]
    ) -> _Section:
        # A pydantic "after" validator would be skipped as soon as one value is wrong.
        if not isinstance(data, Mapping):
            return handler(data)
        errors = list(cls._issues_of_raw(data))
        try:
            section = handler(data)
        except ValidationError as failure:
            errors += cls._reworded(failure.errors(include_url=False), data)
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return section

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """Yield issues of the raw mapping, before any value is validated."""
        return iter(())

    @classmethod
    def _reworded(
        cls, details: list[ErrorDetails], data: Mapping[str, Any]
    ) -> Iterator[InitErrorDetails]:
        """Yield the same errors, with clearer messages for missing and unknown keys."""
        strange = [key for key in map(str, data) if key not in cls.model_fields]
        guessed = set(strange[:_MOST_GUESSES])
        misspelled = {nearest(key, cls.known_keys()) for key in guessed}
        for detail in details:
            kind, loc, message = detail["type"], detail["loc"], detail["msg"]
            key = str(loc[-1]) if loc else ""
            if len(loc) > 1:
                pass  # the error belongs to an inner section, which has already reworded it
            elif kind == "missing":
                if key in misspelled and key not in data:
                    continue  # one typo, one message
                kind, meaning = "missing_key", cls.model_fields[key].description
                message = f"missing key '{key}'" + (f": {meaning}" if meaning else "")
            elif kind == "extra_forbidden":
                kind, message = "unknown_key", f"unknown key '{shortened(key)}'"
                if key in guessed:
                    message = unknown("key", key, cls.known_keys())
            yield issue(kind, message, loc, detail["input"], detail.get("ctx"))


class Curve(Section):
    """A closed formula with fitted coefficients; the section that contains it gives the source."""

    def formula(self) -> str:
        """Return the formula with its numbers on one line."""
        raise NotImplementedError

    def largest(self, r: float) -> float:
        """Return an upper bound of the magnitude on the interval from 0 to ``r``.

        Raises:
            OverflowError: if the bound exceeds the largest float.
        """
        raise NotImplementedError


class Sourced(Section):
    """A section that gives a source for each of its numbers.

    ``source`` is one sentence for the whole section, or a mapping from the name of each number to
    its sentence. Numbers left at their default and knobs such as ``strength`` need no source.
    """

    source: Source = Field(
        default=None,
        description="source of the numbers: one sentence, or one for each number",
    )

    @classmethod
    @cache
    def numbers(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold published or assumed numbers, in order."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if _holds_number(field.annotation)
            and not any(isinstance(mark, KnobMark) for mark in field.metadata)
        )

    def source_of(self, field: str) -> str | None:
        """Return the source of the value of ``field``, or None."""
        if isinstance(self.source, dict):
            return self.source.get(field)
        return self.source if field in self.numbers() else None

    def stated_source_of(self, field: str) -> str | None:
        """Return the source of ``field``, or None where the value is a default of ours.

        One sentence for a whole section does not describe numbers that equal their defaults.
        """
        if isinstance(self.source, str):
            default = type(self).model_fields[field].default
            if _is_default(getattr(self, field), default):
                return None
        return self.source_of(field)

    def source_when_set_by_hand(self, field: str) -> dict[str, str]:
        """Return the sources after ``field`` was set by hand; all other sources are kept."""
        kept = {name: self.stated_source_of(name) for name in type(self).model_fields}
        return {name: text for name, text in kept.items() if text} | {field: BY_HAND}

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        source = data.get("source")
        named = source if isinstance(source, Mapping) else ()
        missing = [
            name
            for name in cls.numbers()
            if not _is_default(data.get(name), cls.model_fields[name].default) and name not in named
        ]
        if isinstance(source, Mapping):
            strange = [name for name in source if name not in cls.model_fields]
            # Merging files adds a source for every key; an unknown key must be one issue, not two.
            alone = [name for name in strange if name not in data]
            for name in alone[:_MOST_GUESSES]:
                yield issue("unknown_key", unknown("key", name, cls.numbers()), ("source", name))
            misspelled = {nearest(name, cls.numbers()) for name in strange[:_MOST_GUESSES]}
            for name in missing:
                # Text instead of a number is a separate issue; merging files adds no source for it.
                if name not in misspelled and not isinstance(data[name], str):
                    yield issue("no_source", _no_source([name]), (name,))
        elif missing and source is None:
            yield issue("no_source", _no_source(missing), ())


def issue(
    kind: str,
    message: str,
    loc: tuple[int | str, ...],
    value: Any = None,
    context: dict[str, Any] | None = None,
) -> InitErrorDetails:
    """Return a pydantic error that can be raised together with others."""
    error = PydanticCustomError(kind, message, context)
    return InitErrorDetails(type=error, loc=loc, input=value)


def _is_default(value: Any, default: Any) -> bool:
    """Return whether a raw ``value`` is missing or equal to the default (files give lists)."""
    return value is None or (tuple(value) if isinstance(value, list) else value) == default


def _no_source(names: list[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"no source for {quoted}; add it to 'source', or write 'assumption: ...' there"


def is_kind_of(annotation: Any, kinds: type | tuple[type, ...]) -> bool:
    """Return whether an annotation is one of these classes or a subclass.

    In Python 3.10, ``dict[str, str]`` is an instance of ``type`` that ``issubclass`` rejects.
    """
    return (
        inspect.isclass(annotation) and not get_args(annotation) and issubclass(annotation, kinds)
    )


def _holds_number(annotation: Any) -> bool:
    if is_kind_of(annotation, (int, float, Curve)):
        return annotation is not bool
    return any(_holds_number(part) for part in get_args(annotation))
