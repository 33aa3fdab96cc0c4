"""Settings for reading a file of measurements."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from cimsim.errors import CimsimError
from cimsim.units import parse_duration

_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
DELIMITERS = (",", ";", "\t", "|", " ")
DATE_ORDERS = ("dmy", "mdy", "ymd")


class Tolerance(NamedTuple):
    """Times up to ``first * (1 + relative) + absolute_s`` are combined to one age."""

    relative: float
    absolute_s: float


@dataclass(frozen=True)
class Reading:
    """Settings for reading a file; all others are recognized from the file.

    Attributes:
        delimiter: a character, or ``tab``, ``comma``, ``semicolon``, ``space``, ``pipe``.
        decimal: ``.`` or ``,``.
        encoding: an encoding name of Python, such as ``utf-16`` or ``latin-1``.
        skip_rows: number of lines above the header.
        columns: header of the column for each role, such as ``{"g_target_uS": "G set [S]"}``;
            ``#3`` is the third column, ``row+col`` (only for ``cell``) joins two columns.
        units: unit of a role or of a column, such as ``{"time_s": "ms"}``; the key ``""`` applies
            to all columns of that quantity.
        date_order: ``dmy``, ``mdy`` or ``ymd``.
        time_tolerance: times that differ by less are combined to one age: ``10%``, or a duration
            such as ``30s``; 0 combines no times.

    Raises:
        CimsimError: if a setting is invalid.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    skip_rows: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    date_order: str | None = None
    time_tolerance: str | float | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            delimiter = _NAMES.get(self.delimiter.lower(), self.delimiter)
            if len(delimiter) != 1 or delimiter in "\r\n\"'" or delimiter.isalnum():
                raise CimsimError(
                    f"--delimiter '{self.delimiter}' must be one character, or one of "
                    f"{', '.join(name for name in _NAMES if name.isalpha())}"
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.decimal is not None:
            decimal = {"point": ".", "comma": ","}.get(self.decimal.lower(), self.decimal)
            if decimal not in (".", ","):
                raise CimsimError(f"--decimal '{self.decimal}' must be . or ,")
            object.__setattr__(self, "decimal", decimal)
        if self.delimiter is not None and self.delimiter == self.decimal:
            raise CimsimError(
                f"--delimiter and --decimal must differ, but both are '{self.decimal}'; omit "
                "--decimal if values are in double quotes"
            )
        if self.date_order is not None and self.date_order not in DATE_ORDERS:
            raise CimsimError(
                f"--date-order '{self.date_order}' must be one of {', '.join(DATE_ORDERS)}"
            )
        if self.skip_rows < 0:
            raise CimsimError(f"--skip-rows {self.skip_rows} must be 0 or more")
        self.tolerance()

    def tolerance(self) -> Tolerance | None:
        """Return ``time_tolerance`` as numbers; None for the default."""
        if self.time_tolerance is None:
            return None
        text = str(self.time_tolerance).strip()
        if percent := re.fullmatch(r"([0-9.eE+-]+)\s*%", text):
            try:
                share = float(percent[1]) / 100
            except ValueError:
                share = math.nan
            if math.isfinite(share) and share >= 0:
                return Tolerance(share, 0.0)
        else:
            with suppress(CimsimError):
                seconds = parse_duration(text)
                if seconds == 0 or seconds >= 1 or text[-1].isalpha():  # 0.1 may mean 10%
                    return Tolerance(0.0, seconds)
        raise CimsimError(
            f"--time-tolerance '{text}' must be a share such as 10%, or a duration such as 30s"
        )


def assignments(option: str, texts: Iterable[str], bare: bool = False) -> dict[str, str]:
    """Parse the ``KEY=VALUE`` texts of a repeated option to a dictionary.

    Args:
        option: name of the option, for messages.
        texts: values of the option.
        bare: whether a value without a key is allowed; its key is the empty text.

    Raises:
        CimsimError: if a text has no ``=``, or a key is given twice.

    >>> assignments("--unit", ["time_s=ms", "nS"], bare=True)
    {'time_s': 'ms', '': 'nS'}
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals and bare:
            key, value = "", text
        elif not equals or not key.strip() or not value.strip():
            raise CimsimError(
                f"{option} '{text}' must have the form COLUMN=VALUE, such as "
                + ("time_s=ms" if bare else "g_target_uS='G set [S]'")
            )
        key = key.strip()
        if key in pairs:
            given = f" for {key}" if key else ""
            raise CimsimError(f"{option} is given twice{given}; give it once")
        pairs[key] = value.strip()
    return pairs
