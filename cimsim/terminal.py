"""Text that somebody else wrote, so that a terminal shows it and does nothing else."""

from __future__ import annotations

import unicodedata

_LAYOUT = "\n\t"


def printable(text: str) -> str:
    r"""``text`` with every character written out that moves the cursor, colors, or reorders text.

    These are control characters, format characters such as the marks that change the direction of
    writing, and what is no character at all. Line ends and tabs stay.

    >>> printable("\x1b[31mred\u202e, caf\xe9")
    '\\x1b[31mred\\u202e, café'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_text(char) else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    r"""``text`` as :func:`printable` shows it, on one line, with unusual spaces written out too.

    >>> one_line("a\nb\u2003c")
    'a\\nb\\u2003c'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _is_text(char: str) -> bool:
    if char in _LAYOUT or char.isprintable():
        return True
    return unicodedata.category(char) == "Zs"  # spaces of another width
