"""Construction of interchangeable parts from text: ``name``, or ``name:key=value,key=value``.

Quantizers, objectives and gradient correctors are classes whose constructor arguments are their
settings. A :class:`Family` builds one from a text and reports errors in it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_origin

from pydantic import TypeAdapter, ValidationError

from cimsim.errors import CimsimError
from cimsim.suggest import unknown


class Named(Protocol):
    """A part with a name, and a docstring whose first line describes it."""

    name: ClassVar[str]


Part = TypeVar("Part", bound=Named)


class Family(Generic[Part]):
    """Parts of one kind, such as ``"quantizer"``.

    >>> class Twice:
    ...     "Doubles."
    ...     name = "twice"
    ...     def __init__(self, offset: float = 0.0) -> None:
    ...         self.offset = offset
    >>> family = Family("operation", Twice)
    >>> family.make("twice:offset=3").offset
    3.0
    """

    def __init__(self, kind: str, *parts: type[Part]) -> None:
        self.kind = kind
        self.parts = {part.name: part for part in parts}

    def __iter__(self) -> Iterator[type[Part]]:
        return iter(self.parts.values())

    def part(self, name: str) -> type[Part]:
        """Return the class of that name.

        Raises:
            CimsimError: if there is no such class.
        """
        if name not in self.parts:
            raise CimsimError(unknown(self.kind, name, self.parts))
        return self.parts[name]

    def make(self, spec: str) -> Part:
        """Build the part that ``spec`` describes; items of a list are separated by ``/``.

        Raises:
            CimsimError: if the part or a setting is unknown, or a value is invalid.
        """
        if not isinstance(spec, str):
            raise CimsimError(
                f"a {self.kind} must be text such as '{next(iter(self.parts))}', not {spec!r}"
            )
        name, _, rest = spec.partition(":")
        return build(self.part(name.strip()), rest, f"{self.kind} '{spec}'")


def build(part: type[Part], settings: str, where: str) -> Part:
    """Build a part with ``settings``, a text such as ``key=value,key=value``.

    Items of a list are separated by ``/``. Errors begin with ``where``.

    Raises:
        CimsimError: if a setting is unknown, or a value is invalid.
    """
    known = settings_of(part)
    given: dict[str, Any] = {}
    for entry in filter(None, (entry.strip() for entry in settings.split(","))):
        key, equals, value = (text.strip() for text in entry.partition("="))
        if not equals:
            raise CimsimError(f"{where}: '{key}' needs a value, '{key}=VALUE'")
        if key not in known:
            raise CimsimError(f"{where}: {unknown('setting', key, known)}")
        if key in given:
            raise CimsimError(f"{where}: {key} is given twice")
        annotation = known[key].annotation
        read: Any = value.split("/") if get_origin(annotation) is tuple else value
        try:
            given[key] = TypeAdapter(annotation).validate_python(read)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise CimsimError(f"{where}: {key}: {message} (got '{value}')") from None
        if isinstance(given[key], float) and not math.isfinite(given[key]):
            raise CimsimError(f"{where}: {key}: must be finite (got '{value}')")
    missing = [k for k, p in known.items() if p.default is p.empty and k not in given]
    if missing:
        raise CimsimError(f"{where}: the setting '{missing[0]}' is missing")
    try:
        return part(**given)
    except CimsimError as error:
        raise CimsimError(f"{where}: {error}") from None


def settings_of(part: type[Named]) -> dict[str, inspect.Parameter]:
    """Return the settings of a part: its constructor arguments."""
    return dict(inspect.signature(part, eval_str=True).parameters)
