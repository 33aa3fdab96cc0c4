"""What is wrong with a profile, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cimsim.errors import CimsimError


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    ``file`` is a file, or the ``--set key=value`` that is wrong; then ``line`` is 0. Lines and
    columns count from 1. ``path`` names the key as an override would, such as ``cell.drift.0``.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"

    def position(self) -> tuple[object, ...]:
        """Sorts faults by file and line, those of no line last."""
        return (self.line == 0, self.file, self.line, self.column, self.path, self.message)


class ProfileError(CimsimError):
    """A profile cannot be used; ``faults`` holds everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(faults, key=Fault.position)
        super().__init__("\n".join(map(str, self.faults)))
