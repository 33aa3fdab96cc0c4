"""Numbers of Python, NumPy and torch, which users pass alike."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any


def python_value(value: Any) -> Any:
    """Return ``value`` with the numbers and arrays of NumPy and torch as those of Python.

    >>> import torch
    >>> python_value({"bits": torch.tensor(4), "times_s": (1, torch.tensor([2.0, 3.0]))})
    {'bits': 4, 'times_s': [1, [2.0, 3.0]]}
    """
    if isinstance(value, Mapping):
        return {key: python_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [python_value(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def number_or_nan(value: object) -> float:
    """Return ``value`` as a ``float``; NaN if it is not a number.

    >>> number_or_nan(2), number_or_nan("2")
    (2.0, nan)
    """
    number = python_value(value)
    return float(number) if isinstance(number, int | float) else math.nan


def integer_or_none(value: object) -> int | None:
    """Return ``value`` as an ``int``; None if it is not an integer.

    >>> integer_or_none(2), integer_or_none(2.0), integer_or_none("2")
    (2, None, None)
    """
    try:
        return int(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        return None
