"""Which of several designs are worth their cost, by statistics over chips.

A design is worth its cost if it is significantly better than every cheaper one that is: by the 95 %
interval of the mean difference, taken chip by chip (Student's t). Designs without a significant
difference are equally good, and the cheapest of them wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cimsim.analysis.sweeps.metric import rounding
from cimsim.analysis.sweeps.stats import summary

_DIGITS = 9  # of costs and metrics; those that are nearer are equal except for rounding


def significantly_better(
    values: Sequence[float], others: Sequence[float], falls: bool = False
) -> bool:
    """Whether the mean of ``values`` is better than that of ``others`` beyond its 95 % interval.

    The difference is taken chip by chip, over the chips that both have. One chip has no interval;
    there, any difference beyond rounding counts.

    Args:
        values, others: the metric on each chip, in the order of the same chips.
        falls: whether lower is better.

    >>> significantly_better([0.92, 0.93, 0.94], [0.90, 0.91, 0.92])
    True
    >>> significantly_better([0.92, 0.93, 0.94], [0.93, 0.91, 0.94])
    False
    """
    sign = -1.0 if falls else 1.0
    gained = [sign * (a - b) for a, b in zip(values, others, strict=False)]
    size = max(map(abs, (*values, *others)))
    of_all = summary(0, gained)
    half = of_all.half_width if of_all.chips > 1 else 0.0
    return of_all.mean - half > rounding(size)


def dominators(
    costs: Sequence[float], values: Sequence[Sequence[float]], falls: bool = False
) -> list[int | None]:
    """Return for each design the one on the front that dominates it, or None for the front itself.

    The front starts with the cheapest design; the next one is the cheapest that is significantly
    better than all on the front so far. Every other design is dominated by one that costs no more
    and is not significantly worse. Costs that are equal except for rounding are equal.

    Args:
        costs: cost of each design.
        values: the metric of each design on each of its chips. A design with a value that is not
            finite is on no front; it is dominated by the cheapest one that is.
        falls: whether lower is better.

    Returns:
        One entry for each design: the index of the first design on the front that dominates it, its
        own index if all are not finite, or None.
    """
    front: list[int] = []
    dominated_by: list[int | None] = [None] * len(costs)
    finite = [i for i, own in enumerate(values) if all(map(math.isfinite, own))]
    for i in sorted(finite, key=lambda i: _order(i, costs, values, falls)):
        by = next((j for j in front if not significantly_better(values[i], values[j], falls)), None)
        dominated_by[i] = by
        if by is None:
            front.append(i)
    for i in set(range(len(costs))) - set(finite):
        dominated_by[i] = front[0] if front else i
    return dominated_by


def _order(
    index: int, costs: Sequence[float], values: Sequence[Sequence[float]], falls: bool
) -> tuple[float, float, float]:
    """The cheapest first; of equal costs the better one, and of equal means the cheaper one."""
    own = values[index]
    mean = math.fsum(own) / len(own)
    return _rounded(costs[index]), _rounded(mean if falls else -mean), costs[index]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
