"""Seeds from names: the same name gives the same numbers, whatever the order or the process."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING

from cimsim.errors import CimsimError

if TYPE_CHECKING:
    import torch


def seed_for(*parts: object) -> int:
    """A 63-bit seed from the name ``parts`` (BLAKE2b of their text, joined unambiguously).

    >>> seed_for("chip", 3) == seed_for("chip", 3)
    True
    >>> seed_for("chip", 3) == seed_for("chip", "layer1", 3)
    False
    """
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def chip_number(seed: object) -> int:
    """``seed`` as an ``int``, so that ``7``, ``numpy.int64(7)`` and ``torch.tensor(7)`` all name
    the same draws.

    Raises:
        CimsimError: if it is no whole number.

    >>> chip_number(7)
    7
    """
    try:
        return int(operator.index(seed))  # type: ignore[arg-type]
    except TypeError:
        raise CimsimError(f"a seed is a whole number, not {seed!r}") from None


def cycle_number(cycle: object) -> int:
    """``cycle``, which counts how often a chip was written before, as an ``int``.

    Raises:
        CimsimError: if it is no whole number of 0 or more.

    >>> cycle_number(2)
    2
    """
    try:
        number = int(operator.index(cycle))  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0:
        raise CimsimError(f"a write cycle is a whole number of 0 or more, not {cycle!r}")
    return number


def cycle_seed(seed: int, cycle: int) -> int:
    """The seed of what the chip named by ``seed`` draws anew in each write cycle.

    >>> cycle_seed(7, 0), cycle_seed(7, 1) == cycle_seed(7, 2)
    (7, False)
    """
    return seed if cycle == 0 else seed_for(seed, "cycle", cycle)


def seed_of_training(seed: object) -> int:
    """``seed`` as an ``int`` that checkpoints can hold, see :func:`chip_number`.

    Raises:
        CimsimError: if it is no whole number, or has more than 63 bits.
    """
    number = chip_number(seed)
    if not -(2**63) <= number < 2**63:
        raise CimsimError(f"a seed of training lies between -2^63 and 2^63 - 1, unlike {number}")
    return number


def generator(*parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh ``torch.Generator`` on ``device``, seeded by :func:`seed_for` of ``parts``."""
    import torch

    return torch.Generator(device=device).manual_seed(seed_for(*parts))
