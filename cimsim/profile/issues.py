"""Issues of a profile, each with its position in a file."""

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
    """One error in a profile.

    ``file`` is a file or an override, ``key=value``. ``line`` is 0 for an override and for a
    file that cannot be read; lines and columns count from 1. ``path`` names the key as an override
    does, such as ``cell.drift.0``. ``by`` is the place (``file:line:column``) where another profile
    names the file; empty for the profile that was requested.
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
        """Return a sort key: by file and line, issues without a line last."""
        return (self.line == 0, self.file, self.line, self.column, self.path, self.message)


class ProfileError(CimsimError):
    """A profile cannot be used; ``issues`` lists all errors in it.

    The message contains the first 100 issues.
    """

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues = sorted(issues, key=Issue.position)
        super().__init__("\n".join(issue_lines(self.issues)))


def issue_lines(issues: Sequence[Issue]) -> list[str]:
    """Return one line for each of the first 100 issues, and one with the number of the others."""
    lines = list(map(str, issues[:MOST_ISSUES]))
    more = len(issues) - MOST_ISSUES
    return lines if more <= 0 else [*lines, f"and {more} more; fix these first"]


def _shortened(text: str, longest: int) -> str:
    """Return ``text`` on one line, with the middle of a long text replaced by an ellipsis."""
    text = one_line(text)
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
