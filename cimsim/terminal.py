"""Escaping of untrusted text for terminals."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

_LAYOUT = "\n\t"


def printable(text: str) -> str:
    r"""Escape characters of ``text`` that move the cursor, change colors, or reorder text.

    These are control characters, format characters such as those that change the direction of
    writing, and unassigned code points. Line endings and tabs are kept.

    >>> printable("\x1b[31mred\u202e, caf\xe9")
    '\\x1b[31mred\\u202e, café'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_text(char) else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    r"""Escape ``text`` as :func:`printable` does, and also line endings and unusual spaces.

    >>> one_line("a\nb\u2003c")
    'a\\nb\\u2003c'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows of cells as lines with aligned columns, those in ``right`` at their right ends.

    >>> print(aligned([["a", "bc"], ["def", "g"]], right=[1]))
    a    bc
    def   g
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _is_text(char: str) -> bool:
    if char in _LAYOUT or char.isprintable():
        return True
    return unicodedata.category(char) == "Zs"  # spaces of another width
