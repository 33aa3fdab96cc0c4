"""What every part of a profile shares: known keys, and a source for each number."""

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
# Comparing a word with all known ones takes long; after so many the file is no slip of the pen.
_MOST_GUESSES = 100

_Section = TypeVar("_Section", bound="Section")


class Section(BaseModel):
    """A frozen mapping of the profile that knows all of its keys."""

    # Checks are built where they are first used: `cimsim --help` uses none.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that this section may have in a file."""
        return list(cls.model_fields)

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_fault(
        cls: type[_Section], data: Any, handler: ModelWrapValidatorHandler[_Section]
    ) -> _Section:
        # A pydantic "after" validator would be skipped as soon as one value is wrong.
        if not isinstance(data, Mapping):
            return handler(data)
        errors = list(cls._faults_of_raw(data))
        try:
            section = handler(data)
        except ValidationError as failure:
            errors += cls._reworded(failure.errors(include_url=False), data)
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return section

    @classmethod
    def _faults_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """Faults beyond wrong values, found before any value is read."""
        return iter(())

    @classmethod
    def _reworded(
        cls, details: list[ErrorDetails], data: Mapping[str, Any]
    ) -> Iterator[InitErrorDetails]:
        """The same errors, those about keys in words that help."""
        strange = [key for key in map(str, data) if key not in cls.model_fields]
        guessed = set(strange[:_MOST_GUESSES])
        misspelt = {nearest(key, cls.known_keys()) for key in guessed}
        for detail in details:
            kind, loc, message = detail["type"], detail["loc"], detail["msg"]
            key = str(loc[-1]) if loc else ""
            if len(loc) > 1:
                pass  # of a value inside, which says itself what is wrong
            elif kind == "missing":
                if key in misspelt and key not in data:
                    continue  # one slip of the pen, one message
                kind, meaning = "missing_key", cls.model_fields[key].description
                message = f"missing key '{key}'" + (f": {meaning}" if meaning else "")
            elif kind == "extra_forbidden":
                kind, message = "unknown_key", f"unknown key '{shortened(key)}'"
                if key in guessed:
                    message = unknown("key", key, cls.known_keys())
            yield fault(kind, message, loc, detail["input"], detail.get("ctx"))


class Curve(Section):
    """A small closed formula with fitted coefficients; its source is that of its owner."""

    def formula(self) -> str:
        """The formula with its numbers, on one line."""
        raise NotImplementedError

    def largest(self, r: float) -> float:
        """A bound of the magnitude between 0 and ``r``.

        Raises:
            OverflowError: no float is as large.
        """
        raise NotImplementedError


class Sourced(Section):
    """A section that says where each of its numbers comes from.

    ``source`` is one sentence for the whole section, or a mapping from each number given there to
    its sentence. Numbers left at their default and knobs such as ``strength`` need none.
    """

    source: Source = Field(
        default=None,
        description="where the numbers come from: one sentence, or one for each number",
    )

    @classmethod
    @cache
    def numbers(cls) -> tuple[str, ...]:
        """Names of the fields that hold published or assumed numbers, in order."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if _holds_number(field.annotation)
            and not any(isinstance(mark, KnobMark) for mark in field.metadata)
        )

    def source_of(self, field: str) -> str | None:
        """The sentence that says where the value of ``field`` comes from."""
        if isinstance(self.source, dict):
            return self.source.get(field)
        return self.source if field in self.numbers() else None

    def source_when_set_by_hand(self, field: str) -> dict[str, str]:
        """The source once ``field`` has been set by hand; that of the other numbers stays."""
        kept = {name: self.source_of(name) for name in type(self).model_fields}
        return {name: text for name, text in kept.items() if text} | {field: BY_HAND}

    @classmethod
    def _faults_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        source = data.get("source")
        named = source if isinstance(source, Mapping) else ()
        missing = [
            name
            for name in cls.numbers()
            if not _is_default(data.get(name), cls.model_fields[name].default) and name not in named
        ]
        if isinstance(source, Mapping):
            strange = [name for name in source if name not in cls.model_fields]
            for name in strange[:_MOST_GUESSES]:
                yield fault("unknown_key", unknown("key", name, cls.numbers()), ("source", name))
            misspelt = {nearest(name, cls.numbers()) for name in strange[:_MOST_GUESSES]}
            for name in missing:
                if name not in misspelt:
                    yield fault("no_source", _no_source([name]), (name,))
        elif missing and source is None:
            yield fault("no_source", _no_source(missing), ())


def fault(
    kind: str,
    message: str,
    loc: tuple[int | str, ...],
    value: Any = None,
    context: dict[str, Any] | None = None,
) -> InitErrorDetails:
    """A pydantic error that can be raised beside others."""
    error = PydanticCustomError(kind, message, context)
    return InitErrorDetails(type=error, loc=loc, input=value)


def _is_default(value: Any, default: Any) -> bool:
    """Whether a raw ``value`` is left at its default, or not given; a file has lists for tuples."""
    return value is None or (tuple(value) if isinstance(value, list) else value) == default


def _no_source(names: list[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"no source for {quoted}; name it under 'source', or write 'assumption: ...' there"


def is_kind_of(annotation: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether an annotation is one of these classes or derived from one.

    In Python 3.10 ``dict[str, str]`` is an instance of ``type`` that ``issubclass`` refuses.
    """
    return (
        inspect.isclass(annotation) and not get_args(annotation) and issubclass(annotation, kinds)
    )


def _holds_number(annotation: Any) -> bool:
    if is_kind_of(annotation, (int, float, Curve)):
        return annotation is not bool
    return any(_holds_number(part) for part in get_args(annotation))
