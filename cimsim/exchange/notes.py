"""Results of an exchange: what was translated, and what has no counterpart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cimsim.profile import Profile


class Note(NamedTuple):
    """A value without an exact counterpart: where it is, what it is, and the consequence."""

    field: str
    value: str
    consequence: str

    def __str__(self) -> str:
        """Return the note on one line."""
        return f"{self.field} = {self.value}: {self.consequence}"


@dataclass(frozen=True)
class Imported:
    """A profile made of another library's configuration.

    Attributes:
        profile: the profile.
        notes: fields that differ from the library's default and have no exact counterpart.
    """

    profile: Profile
    notes: tuple[Note, ...]


class Notes:
    """Collects notes; the first note on a field is kept."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}

    def add(self, field: str, value: object, consequence: str) -> None:
        """Add a note on ``field``."""
        self._notes.setdefault(field, Note(field, shown(value), consequence))

    def __contains__(self, field: str) -> bool:
        return field in self._notes

    def all(self) -> tuple[Note, ...]:
        """Return all notes in the order in which they were added."""
        return tuple(self._notes.values())


@dataclass
class Draft:
    """A profile in the making: nested sections of plain values, as in a file."""

    cell: dict[str, object] = field(default_factory=dict)
    array: dict[str, object] = field(default_factory=dict)
    dac: dict[str, object] = field(default_factory=dict)
    adc: dict[str, object] = field(default_factory=dict)
    wires: dict[str, object] | None = None


def shown(value: object) -> str:
    """Return ``value`` as notes print it: numbers in short, long lists cut."""
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (list, tuple)):
        parts = [shown(part) for part in value[:6]]
        return f"[{', '.join(parts)}{', ...' if len(value) > 6 else ''}]"
    return str(value)
