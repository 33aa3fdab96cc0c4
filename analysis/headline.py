"""Headlines: a result in a sentence, for readers who did not compute it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cimsim.analysis.sweeps.metric import Metric
from cimsim.quantities import plain_number

TRAINED, CHIP, AGE, TOLERANCE, COST, YIELD, EFFECT, LAYER = (
    "trained",
    "chip",
    "age",
    "tolerance",
    "cost",
    "yield",
    "effect",
    "layer",
)
RECOVERY = "recovery"
ORDER = (TRAINED, CHIP, AGE, RECOVERY, TOLERANCE, COST, YIELD, EFFECT, LAYER)
"""The topics, in the order of the sentences on the first screen."""


@dataclass(frozen=True)
class Headline:
    """One result in a sentence, and its number.

    Attributes:
        topic: what it answers, one of :data:`ORDER`; a report keeps one headline of each topic.
        sentence: a whole sentence with its conditions, about "it", the model.
        number: the number with its unit; empty if a sentence is enough.
        what: what the number is, in a few words.
        weight: the larger, the better it answers its topic: the number of chips, and much less
            under conditions that are not the profile's own.
    """

    topic: str
    sentence: str
    number: str = ""
    what: str = ""
    weight: float = 1


def brief(metric: Metric, value: float) -> str:
    """A value of ``metric`` with three digits and its unit.

    >>> from cimsim.analysis.sweeps.metric import ACCURACY
    >>> brief(ACCURACY, 0.97417)
    '97.4 %'
    """
    return f"{plain_number(metric.factor * value)} {metric.unit}".rstrip()


def brief_difference(metric: Metric, value: float) -> str:
    """A difference of two values of ``metric`` in the same way: ``1.2 points``."""
    return metric.difference_with_unit(plain_number(metric.factor * value))


def best_of_each_topic(headlines: Iterable[Headline]) -> Iterator[Headline]:
    """One headline of each topic, in the order of the topics.

    >>> few, many = (Headline(CHIP, f"{n} chips", weight=n) for n in (1, 10))
    >>> [headline.sentence for headline in best_of_each_topic([few, many])]
    ['10 chips']
    """
    known = list(headlines)
    for topic in ORDER:
        of = [headline for headline in known if headline.topic == topic]
        if of:
            yield max(of, key=lambda headline: headline.weight)
