"""Configurations of another library as plain values, with the library's defaults filled in."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from cimsim.errors import CimsimError
from cimsim.exchange.notes import Notes

CLASS = "class"
NO_EFFECT = "(none)"
"""The key of a field that concerns how a library computes, and not the chip."""
_DEEPEST = 6


class Field(NamedTuple):
    """One field of a library's configuration.

    Attributes:
        path: dotted path in the configuration.
        default: the library's default.
        key: the key of a profile that it sets, :data:`NO_EFFECT`, or empty without a counterpart.
        consequence: what a value other than the default means for the profile. A field with a key
            has none, or one that the reader of the configuration adds.
    """

    path: str
    default: object
    key: str = ""
    consequence: str = ""


class Source:
    """The values of a configuration by path; an absent one has the library's default."""

    def __init__(self, library: str, values: Mapping[str, Any], fields: tuple[Field, ...]) -> None:
        self.library = library
        self.values = dict(values)
        self._fields = {field.path: field for field in fields}
        self.read: set[str] = set()

    def __getitem__(self, path: str) -> Any:
        self.read.add(path)
        return self.values.get(path, self._fields[path].default)

    def __contains__(self, path: str) -> bool:
        return path in self.values

    def number(self, path: str) -> float:
        """Return a finite number.

        Raises:
            CimsimError: if the value is anything else.
        """
        value = self[path]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CimsimError(f"{self.library}: '{path}' must be a number, not {value!r}")
        if not math.isfinite(value):
            raise CimsimError(f"{self.library}: '{path}' must be finite, not {value}")
        return float(value)

    def whole(self, path: str) -> int:
        """Return a whole number, or raise as :meth:`number` does."""
        number = self.number(path)
        if number != int(number):
            raise CimsimError(f"{self.library}: '{path}' must be a whole number, not {number:g}")
        return int(number)

    def numbers(self, path: str) -> list[float]:
        """Return a list of finite numbers, or raise as :meth:`number` does."""
        value = self[path]
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(part, (int, float)) and not isinstance(part, bool) and math.isfinite(part)
            for part in value
        ):
            raise CimsimError(f"{self.library}: '{path}' must be a list of numbers, not {value!r}")
        return [float(part) for part in value]

    def flag(self, path: str, notes: Notes) -> bool:
        """Return whether the value is true as Python has it, which is how the libraries test it.

        A non-empty string such as ``"False"`` is true; a note says so.
        """
        value = self[path]
        if isinstance(value, str) and value:
            notes.add(
                path,
                repr(value),
                f"{self.library} treats every text that is not empty as true, and so does this "
                "profile; write false without quotes",
            )
        return bool(value)

    def differs(self, path: str) -> bool:
        """Return whether a value is given that is not the library's default."""
        if path not in self.values:
            return False
        field = self._fields.get(path)
        return field is None or not same(self.values[path], field.default)

    def add_notes(self, notes: Notes) -> None:
        """Add a note for each field that differs from its default and sets no key."""
        for path in self.values:
            if not self.differs(path) or path in notes:
                continue
            field = self._fields.get(path)
            if field is None:
                if self.values[path] in (None, False, 0, [], {}, ""):
                    continue  # what a field without effect looks like
                notes.add(
                    path,
                    self.values[path],
                    f"this field of {self.library} is unknown to cimsim; its effect is missing",
                )
            elif not field.key:
                notes.add(path, self.values[path], field.consequence)


@contextmanager
def reading(library: str) -> Iterator[None]:
    """Turn an error of arithmetic or structure within the block into one about a value.

    Raises:
        CimsimError: if a value leads to such an error, such as a division by zero.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CimsimError(
            f"{library}: a value of this configuration is impossible ({type(error).__name__}: "
            f"{error})"
        ) from error


def same(value: object, default: object) -> bool:
    """Return whether a value equals a default; numbers as numbers, lists like tuples."""
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return len(value) == len(default) and all(map(same, value, default))
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def plain(config: object, depth: int = 0) -> Any:
    """Return a configuration of another library as nested plain values, which JSON can store.

    Parameter objects become mappings with their class's name in ``class``, enumerations their
    names, and the objects in them their public attributes; what is nested deeper than any
    configuration becomes the name of its class, and so does an object that is not a configuration.
    """
    inner = depth + 1
    if isinstance(config, enum.Enum):
        return config.name
    if isinstance(config, (list, tuple)):
        return [plain(part, inner) for part in config]
    if isinstance(config, Mapping):
        return {str(key): plain(value, inner) for key, value in config.items()}
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    if isinstance(config, type):
        return config.__name__
    if hasattr(config, "tolist"):  # an array or a number of numpy or torch
        return plain(config.tolist(), inner)
    parameters = dataclasses.is_dataclass(config)
    if depth > _DEEPEST or not hasattr(config, "__dict__") or not (parameters or depth):
        return type(config).__name__
    values = {CLASS: type(config).__name__}
    if dataclasses.is_dataclass(config):
        values |= {
            f.name: plain(getattr(config, f.name), inner) for f in dataclasses.fields(config)
        }
    else:
        own = {name: value for name, value in vars(config).items() if not name.startswith("_")}
        values |= {name: plain(value, inner) for name, value in own.items()}
    return values


def flat(values: Mapping[str, Any], whole: frozenset[str], prefix: str = "") -> Iterator[Any]:
    """Yield path and value of every leaf of nested mappings; paths in ``whole`` are leaves."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path not in whole:
            yield from flat(value, whole, f"{path}.")
        else:
            yield path, value
