"""Collection of the issues of a file of measurements in one error."""

from __future__ import annotations

from pathlib import Path

from cimsim.errors import CimsimError

_MOST = 20
_LONGEST = 40


class Issues:
    """Collects the issues of one file, each with its line if it has one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._issues: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._issues)

    def add(self, message: str, line: int = 0) -> None:
        """Add an issue; ``line`` counts from 1, and 0 is the whole file."""
        self._issues.append((line, message))

    def raise_if_any(self) -> None:
        """Raise one error with all issues so far, sorted by line, at most 20 of them.

        Raises:
            CimsimError: if there are any issues.
        """
        if not self._issues:
            return
        issues = sorted(self._issues, key=lambda issue: issue[0])
        lines = [
            f"{self._path}:{line}: {message}" if line else f"{self._path}: {message}"
            for line, message in issues[:_MOST]
        ]
        if len(issues) > _MOST:
            lines.append(f"{self._path}: and {len(issues) - _MOST} more")
        raise CimsimError("\n".join(lines))


def quoted(text: str) -> str:
    """Return a text from a file for a message: quoted, on one line, printable, shortened.

    >>> quoted("a\\nb")
    "'a b'"
    """
    line = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return f"'{line[: _LONGEST - 3]}...'" if len(line) > _LONGEST else f"'{line}'"


def enumerated(words: list[str], most: int = 6) -> str:
    """Join words with commas, and count those beyond ``most``.

    >>> enumerated(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return ", ".join(words)
