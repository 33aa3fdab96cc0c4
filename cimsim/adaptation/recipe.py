"""What an adaptation consists of: parts and their limits. Imports no large library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cimsim.errors import CimsimError
from cimsim.scalars import integer_or_none
from cimsim.seeds import chip_number

Teacher: TypeAlias = Literal["digital", "labels"]

DIGITAL, ALL = "digital", "all"
"""Names for several parts: those that write no cell, and every part."""

BUDGET = 100

_SETTING = re.compile(r"[\w-]+\s*=")


@dataclass(frozen=True)
class Recipe:
    """The parts of an adaptation, and what they may use.

    Attributes:
        parts: each a name, or ``name:setting=value,…``.
        budget: maximum number of batches that each part runs on the chip.
        teacher: targets of parts that train: the digital model's outputs, or labels.
        seed: seed of all random numbers in the parts.

    Raises:
        CimsimError: if the budget or the seed is not such a number, or there is no such teacher.
    """

    parts: tuple[str, ...]
    budget: int = BUDGET
    teacher: Teacher = "digital"
    seed: int = 0

    def __post_init__(self) -> None:
        budget = integer_or_none(self.budget)
        if budget is None or budget < 1:
            raise CimsimError(f"the budget must be 1 batch or more, not {self.budget!r}")
        object.__setattr__(self, "budget", budget)
        object.__setattr__(self, "seed", chip_number(self.seed))
        if self.teacher not in ("digital", "labels"):
            raise CimsimError(f"the teacher must be 'digital' or 'labels', not {self.teacher!r}")

    @property
    def text(self) -> str:
        """The recipe on one line, by which results with it are kept.

        >>> Recipe(("ranges", "affine"), teacher="labels").text
        'ranges + affine (100 batches, labels)'
        """
        limits = [f"{self.budget} batches", self.teacher]
        if self.seed:
            limits.append(f"seed {self.seed}")
        return f"{' + '.join(self.parts)} ({', '.join(limits)})"


def split_parts(parts: str | Iterable[str]) -> tuple[str, ...]:
    """The parts in a text such as ``ranges,low-rank:rank=8,lr=0.01``; a sequence stays the same.

    >>> split_parts("ranges, low-rank:rank=8,lr=0.01, affine")
    ('ranges', 'low-rank:rank=8,lr=0.01', 'affine')

    Raises:
        CimsimError: if ``parts`` is neither text nor a sequence.
    """
    if not isinstance(parts, str):
        if not isinstance(parts, Iterable):
            raise CimsimError(
                f"parts must be text such as 'ranges, low-rank' or a list, not {parts!r}"
            )
        return tuple(parts)
    found: list[str] = []
    for text in filter(None, (each.strip() for each in parts.split(","))):
        if found and _SETTING.match(text):  # a setting of the part before
            found[-1] += f",{text}"
        else:
            found.append(text)
    return tuple(found)
