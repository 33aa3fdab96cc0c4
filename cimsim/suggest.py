"""Suggestions for misspelled words."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from cimsim.terminal import one_line

# Unit suffixes of keys, and their printed form.
UNITS = {
    "uS": "µS",
    "ns": "ns",
    "s": "s",
    "V": "V",
    "C": "°C",
    "eV": "eV",
    "ohm": "Ω",
    "nm": "nm",
    "fF": "fF",
    "fJ": "fJ",
    "pJ": "pJ",
    "dB": "dB",
    "MHz": "MHz",
    "um2": "µm²",
    "F2": "F²",
}


_LONGEST_WORD = 60
_MOST_WORDS = 30


def shortened(word: str) -> str:
    """Return a word for a message: on one line, at most 60 characters."""
    word = one_line(word)
    return word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 1]}…"


def listed(words: Iterable[str]) -> str:
    """Return a list of words for a message: at most 30 of them.

    >>> listed(["bits", "source"])
    'bits, source'
    """
    words = list(words)
    more = len(words) - _MOST_WORDS
    short = [shortened(word) for word in words[:_MOST_WORDS]]
    return ", ".join([*short, f"… ({more} more)"] if more > 0 else short) or "none"


def split_unit(key: str) -> tuple[str, str | None]:
    """Split a key into its name and its unit.

    >>> split_unit("t_read_ns"), split_unit("strength")
    (('t_read', 'ns'), ('strength', None))
    """
    stem, _, unit = key.rpartition("_")
    return (stem, unit) if unit in UNITS and not stem.endswith("_per") else (key, None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the word in ``known`` that is most similar to ``word``, or None.

    The same key with another unit takes precedence: ``t_read_us`` suggests ``t_read_ns``.
    """
    if len(word) > _LONGEST_WORD:
        return None  # not a typo, and slow to compare
    known = list(known)
    stem = word.rpartition("_")[0]
    same = [key for key in known if stem and split_unit(key)[1] and split_unit(key)[0] == stem]
    return next(iter(same or get_close_matches(word, known, n=1, cutoff=0.6)), None)


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """Return a sentence that ``word`` is unknown, with the nearest or all known words.

    >>> unknown("key", "bit", ["bits", "source"])
    "unknown key 'bit'; did you mean 'bits'?"
    """
    known = list(known)
    near = nearest(word, known)
    short = shortened(word)
    if near is None:
        return f"unknown {what} '{short}'; available: {listed(known)}"
    stem, unit = split_unit(near)
    near = shortened(near)
    if unit and stem and word.rpartition("_")[0] == stem:
        return f"unknown {what} '{short}'; did you mean '{near}', with the number in {unit}?"
    return f"unknown {what} '{short}'; did you mean '{near}'?"
