"""What is wrong with a profile, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cimsim.errors import CimsimError
from cimsim.terminal import one_line

MOST_ISSUES = 100
_LONGEST_PLACE = 200
_LONGEST_MESSAGE = 400


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong.

    ``file`` is a file, or the ``--set key=value`` that is wrong; then ``line`` is 0, as it is for a
    file that cannot be read. Lines and
    columns count from 1. ``path`` names the key as an override would, such as ``cell.drift.0``.
    ``by`` is the place (``file:line:column``) where the profile that was asked for, or one that
    it extends, names the file; empty for the profile that was asked for.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    by: str = ""

    def __str__(self) -> str:
        file = _shortened(self.file, _LONGEST_PLACE)
        place = f"{file}:{self.line}:{self.column}" if self.line else one_line(self.file)
        path = f"{_shortened(self.path, _LONGEST_PLACE)}: " if self.path else ""
        by = f" (named in {_shortened(self.by, _LONGEST_PLACE)})" if self.by else ""
        return f"{place}: {path}{_shortened(self.message, _LONGEST_MESSAGE)}{by}"

    def position(self) -> tuple[object, ...]:
        """Sorts faults by file and line, those of no line last."""
        return (self.line == 0, self.file, self.line, self.column, self.path, self.message)


class ProfileError(CimsimError):
    """A profile cannot be used; ``faults`` holds everything that is wrong with it.

    The message shows the first 100 of them.
    """

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues = sorted(issues, key=Issue.position)
        super().__init__("\n".join(issue_lines(self.issues)))


def issue_lines(issues: Sequence[Issue]) -> list[str]:
    """A line for each of the first 100 faults, and how many more there are."""
    lines = list(map(str, issues[:MOST_ISSUES]))
    more = len(issues) - MOST_ISSUES
    return lines if more <= 0 else [*lines, f"and {more} more; mend these first"]


def _shortened(text: str, longest: int) -> str:
    """``text`` on one line, with its middle left out where it is long."""
    text = one_line(text)
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
