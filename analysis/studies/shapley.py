"""Error budget by Shapley values: each non-ideality's share of the loss, independent of order.

    phi_i = mean over all orders of  v(before_i + i) - v(before_i),    v(S) = loss with only S

where ``before_i`` are those enabled before i. The shares add up to the loss with all of them.
Non-idealities that do not interact get the loss that each causes alone; two that cause a loss only
together get half of it each. With n of them there are 2^n variants of the profile. All of them are
evaluated if that is affordable, otherwise those on the way of randomly drawn orders (each with its
reverse, which has less variance). The shares of drawn orders add up to the loss as well; their
standard error over the drawn pairs of orders is reported.

Source: L. S. Shapley, "A Value for n-Person Games" (1953); drawn orders: J. Castro, D. Gómez,
J. Tejada, Computers & Operations Research 36, 1726 (2009); with their reverses: R. Mitchell et al.,
"Sampling Permutations for Shapley Value Estimation", JMLR 23 (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import EFFECT, Headline, brief_difference
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.studies.effects import (
    BUDGET,
    DEFAULTS,
    EVERYTHING,
    NOTHING,
    NamedEffect,
    effects_axis,
    effects_of,
    physical_order,
    variant_with,
)
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    finite,
)
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.errors import CimsimError
from cimsim.seeds import seed_for

if TYPE_CHECKING:
    import numpy as np

    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = "shapley"
AFFORDABLE_TRIALS = 1000
"""Up to this many trials all subsets are evaluated; beyond, about as many are spent on orders."""


def effect_headline(
    facts: Facts, name: str, lost: Summary, how: str, weight: float = 1
) -> Headline | None:
    """The effect that costs most; None if its loss is not significant.

    Args:
        facts: conditions of the result.
        name: name of the effect.
        lost: its loss.
        how: what the loss is, such as ``by itself``.
        weight: how much better this study answers the question than others.
    """
    metric = facts.measured
    if not lost.mean - (lost.half_width if lost.chips > 1 else 0.0) > 0:
        return None
    sentence = (
        f"The largest loss is caused by {cimsim.profile.effect_title(name)}: "
        f"{brief_difference(metric, lost.mean)} {how} ({facts.in_words})."
    )
    return Headline(EFFECT, sentence, weight=weight * facts.weight)


Game: TypeAlias = "Callable[[frozenset[str]], np.ndarray]"
"""The loss of a subset, one number for each chip."""


@dataclass(frozen=True)
class ShapleyShare(NamedEffect):
    """One non-ideality's share of the loss.

    Attributes:
        lost: its Shapley value, over chips.
        sampling_error: standard error of the mean for the drawn orders alone, on these chips; 0 if
            exact, None if a single pair of orders was drawn.
    """

    name: str
    lost: Summary
    sampling_error: float | None


@dataclass(frozen=True)
class Attribution(StudyResult):
    """The loss divided among the non-idealities of a profile, the largest share first.

    Attributes:
        lost: the whole loss, from no non-ideality to all of them.
        orders: number of drawn orders; None if all subsets were evaluated.
    """

    facts: Facts
    nothing: Summary
    everything: Summary
    lost: Summary
    shares: tuple[ShapleyShare, ...]
    orders: int | None

    stem = "budget/shapley"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each share, the heading first."""
        yield ["non-ideality", "chips", "lost", "half_width", "sampling_error"]
        for share in self.shares:
            lost = share.lost
            yield [share.name, lost.chips, lost.mean, lost.half_width, share.sampling_error]
        yield [EVERYTHING, self.lost.chips, self.lost.mean, self.lost.half_width, 0.0]

    def sheet(self) -> Sheet:
        """One row for each share, and their sum."""
        metric, shares = self.facts.measured, self.shares
        names = (*(share.title for share in shares), "all")
        losses = (*(share.lost for share in shares), self.lost)
        lost = means("share of the loss", losses, metric, lost=True)
        sampling = (*(share.sampling_error for share in shares), None)
        errors = means("error by sampling", sampling, metric, lost=True)
        drawn = () if self.orders is None else (errors,)
        caption = f"{self.facts.caption}{self.facts.plus_minus}"
        return Sheet(caption, (Column("non-ideality", names, kind="name"), lost, *drawn))

    @property
    def headline(self) -> Headline | None:
        """The effect with the largest share of the loss."""
        metric, first = self.facts.measured, self.shares[0]
        of = f"of the {brief_difference(metric, self.lost.mean)} that are lost in total"
        return effect_headline(self.facts, first.name, first.lost, of, weight=2)

    def options(self) -> Options:
        """See :class:`Result`."""
        from cimsim.analysis.studies.budget import BudgetOptions

        return BudgetOptions(shapley=True, orders=self.orders)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        return {NAME: [f"{s.title_and_name}\nshare: {s.lost.format(metric)}" for s in self.shares]}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(self.shares), 0.46, 2.0)

    def draw(self, panels: Panels) -> None:
        """Draw a bar for each share, the largest on top, with its interval over chips; the ends are
        named (``gid``) ``shapley``."""
        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric, rows = facts.measured, len(self.shares)
        (axes,) = panels.axes
        places = canvas.row_places(rows)
        values = [metric.factor * share.lost.mean for share in self.shares]
        errors = [share.lost.error(metric) for share in self.shares]
        colors = [theme.color(1 if value > 0 else 2) for value in values]
        bars = axes.barh(
            places, values, color=colors, height=0.62, edgecolor=theme.paper(), linewidth=0
        )
        for bar, value in zip(bars, values, strict=True):
            bar.set_hatch("" if value > 0 else "///")
        canvas.name_points(axes, values, places, NAME)
        if facts.chips > 1:
            canvas.draw_intervals(axes, values, places, errors)
        for place, value, error, share in zip(places, values, errors, self.shares, strict=True):
            text = metric.format(share.lost.mean)
            canvas.annotate(axes, text, max(value + error, 0.0), place)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.1 * (high - low))
        axes.axvline(0.0, color=theme.quiet(), linewidth=1.0)
        canvas.name_rows(axes, places, [share.title for share in self.shares])
        axes.set_xlabel(metric.loss_label)
        canvas.style(axes, "x")
        how = "all subsets" if self.orders is None else f"{self.orders} drawn orders"
        panels.title(
            f"{facts.where}{facts.aged}\nShapley values over {how}, mean of {facts.counted}; "
            f"together {metric.difference_with_unit(self.lost.mean)}"
        )

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        known = (
            share if math.isfinite(float(share["sampling_error"] or 0)) else {**share, **_UNKNOWN}
            for share in fields["shares"]
        )
        return {**fields, "shares": list(known)}


_UNKNOWN = {"sampling_error": None}  # NaN in older files


def exact_shares(names: Sequence[str], game: Game) -> dict[str, np.ndarray]:
    """``phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))``.

    >>> import numpy as np
    >>> both = lambda S: np.array([6.0 * ("a" in S) + 2.0 * (len(S) == 2)])
    >>> {name: float(share[0]) for name, share in exact_shares(["a", "b"], both).items()}
    {'a': 7.0, 'b': 1.0}
    """
    import numpy as np

    n = len(names)
    weights = [
        math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n) for size in range(n)
    ]
    return {
        name: sum(
            (
                weights[len(subset)] * (game(subset | {name}) - game(subset))
                for subset in subsets([other for other in names if other != name])
            ),
            start=np.zeros(()),
        )
        for name in names
    }


def drawn_shares(
    orders: Sequence[Sequence[str]], game: Game
) -> tuple[dict[str, np.ndarray], dict[str, float | None]]:
    """Compute the means over ``orders``, of which each two neighbors are a pair, and the standard
    errors of their means over chips (None for a single pair)."""
    import numpy as np

    marginal: dict[str, list[np.ndarray]] = {name: [] for name in orders[0]}
    for order in orders:
        for place, name in enumerate(order):
            before = frozenset(order[:place])
            marginal[name].append(game(before | {name}) - game(before))
    shares: dict[str, np.ndarray] = {}
    errors: dict[str, float | None] = {}
    for name, gains in marginal.items():
        pairs = np.array(gains).reshape(-1, 2, *gains[0].shape).mean(1)  # [pairs, chips]
        shares[name] = pairs.mean(0)
        own = pairs.mean(-1)
        errors[name] = float(own.std(ddof=1) / math.sqrt(len(own))) if len(own) > 1 else None
    return shares, errors


def subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield every subset, the empty one first."""
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))


def draw_orders(names: Sequence[str], count: int) -> list[list[str]]:
    """Draw ``count`` orders, each second one the reverse of the one before it."""
    import numpy as np

    draws = np.random.default_rng(seed_for("shapley", *names))
    orders: list[list[str]] = []
    while len(orders) < count:
        order = [names[i] for i in draws.permutation(len(names))]
        orders += [order, order[::-1]]
    return orders


def affordable_orders(names: Sequence[str], chips: int) -> int | None:
    """Return the number of orders to draw, which is even; None if all subsets are affordable."""
    if 2 ** len(names) * chips <= AFFORDABLE_TRIALS:
        return None
    pairs = AFFORDABLE_TRIALS // (2 * max(1, len(names) - 1) * chips)
    return 2 * max(2, pairs)


def attribute(
    subject: Subject,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    orders: int | None = None,
) -> Attribution:
    """Divide the loss of ``subject`` among the non-idealities of its profile, on the same chips.

    Args:
        subject: what to evaluate.
        evaluation: on which chips.
        orders: number of orders to draw, which must be even; by default all subsets are evaluated
            up to :data:`AFFORDABLE_TRIALS`, and beyond about as many trials.

    Raises:
        CimsimError: if the profile has no non-ideality, a chip's metric is not finite, the number
            of orders is odd or less than 2, or as :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    import numpy as np

    if orders is not None and (orders < 2 or orders % 2):
        raise CimsimError(f"orders are sampled in pairs; use an even number, not {orders}")
    names = physical_order(effects_of(evaluation.assignment(subject)))
    orders = orders or affordable_orders(names, evaluation.chips)
    drawn = [] if orders is None else draw_orders(names, orders)
    needed: Iterable[frozenset[str]] = subsets(names)
    if orders is not None:
        needed = (frozenset(order[:n]) for order in drawn for n in range(len(names) + 1))
    axis = effects_axis(variant_with(names, subset) for subset in needed)
    sweep = evaluation.sweep(subject, axis)
    facts, values = facts_of(sweep.plan), sweep.values()
    metric = facts.measured
    finite(values.values(), metric)
    ideal = np.array(values[NOTHING])

    def game(subset: frozenset[str]) -> np.ndarray:
        now = np.array(values[variant_with(names, subset)])
        lost: np.ndarray = now - ideal if metric.falls else ideal - now
        return lost

    errors: dict[str, float | None] = dict.fromkeys(names, 0.0)
    if orders is None:
        shares = exact_shares(names, game)
    else:
        shares, errors = drawn_shares(drawn, game)
    each = [
        ShapleyShare(name, summary(name, share.tolist()), errors[name])
        for name, share in shares.items()
    ]
    return Attribution(
        facts,
        summary(NOTHING, values[NOTHING], metric.falls),
        summary(EVERYTHING, values[EVERYTHING], metric.falls),
        summary("lost", game(frozenset(names)).tolist()),
        tuple(sorted(each, key=lambda share: -share.lost.mean)),
        orders,
    )


STUDY = Study(
    NAME,
    Attribution,
    "Error budget",
    "The loss divided among non-idealities",
    "--shapley",
    command=BUDGET,
    section=BUDGET,
    defaults=DEFAULTS,
)
