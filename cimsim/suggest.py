"""Near misses: the word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# The units that keys end in, and how they are printed.
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


def split_unit(key: str) -> tuple[str, str | None]:
    """A key without its unit, and the unit.

    >>> split_unit("t_read_ns"), split_unit("strength")
    (('t_read', 'ns'), ('strength', None))
    """
    stem, _, unit = key.rpartition("_")
    return (stem, unit) if unit in UNITS and not stem.endswith("_per") else (key, None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` was probably meant to be, or None.

    The same key with another unit comes first: ``t_read_us`` is ``t_read_ns``.
    """
    known = list(known)
    stem = word.rpartition("_")[0]
    same = [key for key in known if stem and split_unit(key)[1] and split_unit(key)[0] == stem]
    return next(iter(same or get_close_matches(word, known, n=1, cutoff=0.6)), None)


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """One sentence: ``word`` is unknown, and the nearest or all words that are known.

    >>> unknown("key", "bit", ["bits", "source"])
    "unknown key 'bit'; did you mean 'bits'?"
    """
    known = list(known)
    near = nearest(word, known)
    if near is None:
        return f"unknown {what} '{word}'; known here: {', '.join(known) or 'none'}"
    stem, unit = split_unit(near)
    if unit and stem and word.rpartition("_")[0] == stem:
        return f"unknown {what} '{word}'; did you mean '{near}', with the number in {unit}?"
    return f"unknown {what} '{word}'; did you mean '{near}'?"
