"""Seeds derived from names, independent of order and process."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cimsim.errors import CimsimError
from cimsim.scalars import integer_or_none

if TYPE_CHECKING:
    import torch


def seed_for(*parts: object) -> int:
    """Return a 63-bit seed for the name ``parts`` (BLAKE2b of their text, joined unambiguously).

    >>> seed_for("chip", 3) == seed_for("chip", 3)
    True
    >>> seed_for("chip", 3) == seed_for("chip", "layer1", 3)
    False
    """
    text = "\x1f".join(map(str, parts))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def chip_number(seed: object) -> int:
    """Return ``seed`` as an ``int``.

    ``7``, ``numpy.int64(7)`` and ``torch.tensor(7)`` thus give the same random numbers.

    Raises:
        CimsimError: if it is not an integer.

    >>> chip_number(7)
    7
    """
    number = integer_or_none(seed)
    if number is None:
        raise CimsimError(f"a seed must be an integer, not {seed!r}")
    return number


def cycle_number(cycle: object) -> int:
    """Return ``cycle``, the number of earlier write cycles of a chip, as an ``int``.

    Raises:
        CimsimError: if it is not an integer of 0 or more.

    >>> cycle_number(2)
    2
    """
    number = integer_or_none(cycle)
    if number is None or number < 0:
        raise CimsimError(f"a write cycle must be an integer of 0 or more, not {cycle!r}")
    return number


def cycle_seed(seed: int, cycle: int) -> int:
    """Return the seed of the errors that chip ``seed`` samples in write cycle ``cycle``.

    >>> cycle_seed(7, 0), cycle_seed(7, 1) == cycle_seed(7, 2)
    (7, False)
    """
    return seed if cycle == 0 else seed_for(seed, "cycle", cycle)


def attempt_cycle(cycle: int, attempt: int) -> int:
    """Return the number by which attempt ``attempt`` in write cycle ``cycle`` samples its errors.

    Attempt 0 has the number of the cycle; those of other attempts are not numbers of cycles.

    >>> attempt_cycle(2, 0), attempt_cycle(2, 1) > 2**40
    (2, True)
    """
    return cycle if attempt == 0 else cycle + (attempt << 48)


def seed_of_training(seed: object) -> int:
    """Return ``seed`` as an ``int`` that fits in a checkpoint; see :func:`chip_number`.

    Raises:
        CimsimError: if it is not an integer, or has more than 63 bits.
    """
    number = chip_number(seed)
    if not -(2**63) <= number < 2**63:
        raise CimsimError(f"a training seed must be between -2^63 and 2^63 - 1, not {number}")
    return number


def generator(*parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new ``torch.Generator`` on ``device``, seeded with :func:`seed_for` of ``parts``."""
    import torch

    return torch.Generator(device=device).manual_seed(seed_for(*parts))
