"""Error budget by Shapley values: each non-ideality's share of the loss, whatever the order.

    phi_i = mean over all orders of  v(before_i + i) - v(before_i),    v(S) = loss with only S

where ``before_i`` are those switched on before i. The shares add up to the loss with all of them;
non-idealities that do not interact get what they cost alone, and two that only cost together get
half each. With n of them there are 2^n devices: evaluated all where that is affordable
(``exact``), or otherwise those that randomly drawn orders pass through (each with its reverse,
which spreads less). The shares of drawn orders add up to the loss as well; their standard error
over the drawn pairs of orders is given.

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
from typing import TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.budget import EVERYTHING, NOTHING, EffectsAxis, device_with, effects_of
from cimsim.analysis.plot import COLORS, name_points
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import BUDGET
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    finite,
    read_result,
    scores,
)
from cimsim.analysis.waterfall import physical_order
from cimsim.errors import CimsimError
from cimsim.seeds import seed_for
from cimsim.training.run import Run

NAME = "shapley"
AFFORDABLE_CELLS = 1000
"""Up to as many cells all subsets are evaluated; beyond, about as many cells pay for orders."""

Game: TypeAlias = Callable[[frozenset[str]], np.ndarray]
"""The loss of a subset, one number for each chip."""


@dataclass(frozen=True)
class ShapleyShare:
    """One non-ideality's share of the loss.

    Attributes:
        lost: its Shapley value, over chips.
        sampling_error: standard error of the mean for the drawn orders alone, on these chips; 0 if
            exact.
    """

    name: str
    lost: Summary
    sampling_error: float


@dataclass(frozen=True)
class Attribution(Result):
    """The loss of a device shared out over its non-idealities, the largest share first.

    Attributes:
        lost: the whole loss, from no non-ideality to all of them.
        orders: how many orders were drawn; None if all subsets were evaluated.
    """

    facts: Facts
    nothing: Summary
    everything: Summary
    lost: Summary
    shares: tuple[ShapleyShare, ...]
    orders: int | None

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each share, the heading first."""
        yield ["non-ideality", "chips", "lost", "half_width", "sampling_error"]
        for share in self.shares:
            lost = share.lost
            yield [share.name, lost.chips, lost.mean, lost.half_width, share.sampling_error]
        yield [EVERYTHING, self.lost.chips, self.lost.mean, self.lost.half_width, 0.0]

    def sheet(self) -> Sheet:
        """One row for each share, and their sum."""
        metric = self.facts.measured
        rows = [
            (share.name, share.lost.shown(metric), metric.shown(share.sampling_error))
            for share in self.shares
        ]
        rows.append(("all", self.lost.shown(metric), ""))
        columns = 2 if self.orders is None else 3
        headings = ("non-ideality", "share of the loss", "error by sampling")[:columns]
        cells = tuple(row[:columns] for row in rows)
        return Sheet(self.facts.caption, headings, cells, range(1, columns))


def exact_shares(names: Sequence[str], game: Game) -> dict[str, np.ndarray]:
    """``phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))``.

    >>> both = lambda S: np.array([6.0 * ("a" in S) + 2.0 * (len(S) == 2)])
    >>> {name: float(share[0]) for name, share in exact_shares(["a", "b"], both).items()}
    {'a': 7.0, 'b': 1.0}
    """
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
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Means over ``orders``, of which each two neighbors are a pair, and the standard errors of
    their means over chips (NaN for a single pair)."""
    marginal: dict[str, list[np.ndarray]] = {name: [] for name in orders[0]}
    for order in orders:
        for place, name in enumerate(order):
            before = frozenset(order[:place])
            marginal[name].append(game(before | {name}) - game(before))
    shares, errors = {}, {}
    for name, found in marginal.items():
        pairs = np.array(found).reshape(-1, 2, *found[0].shape).mean(1)  # [pairs, chips]
        shares[name] = pairs.mean(0)
        many = len(pairs)
        spread = pairs.mean(-1).std(ddof=1) if many > 1 else math.nan
        errors[name] = float(spread / math.sqrt(many))
    return shares, errors


def subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    """Every subset, the empty one first."""
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))


def draw_orders(names: Sequence[str], count: int) -> list[list[str]]:
    """``count`` orders, each second one the reverse of the one before it."""
    draws = np.random.default_rng(seed_for("shapley", *names))
    orders: list[list[str]] = []
    while len(orders) < count:
        order = [names[i] for i in draws.permutation(len(names))]
        orders += [order, order[::-1]]
    return orders


def affordable_orders(names: Sequence[str], chips: int) -> int | None:
    """How many orders to draw, an even number; None if all subsets are affordable."""
    if 2 ** len(names) * chips <= AFFORDABLE_CELLS:
        return None
    pairs = AFFORDABLE_CELLS // (2 * max(1, len(names) - 1) * chips)
    return 2 * max(2, pairs)


def attribute(
    run: Run,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    orders: int | None = None,
) -> Attribution:
    """Share out the loss of the device of ``run`` over its non-idealities, on the same chips.

    Args:
        orders: how many orders to draw, an even number; by default all subsets are evaluated up to
            :data:`AFFORDABLE_CELLS`, and beyond about as many cells.

    Raises:
        CimsimError: if nothing is wrong with the device, a chip's metric is not finite, the number
            of orders is odd or less than 2, or as :func:`cimsim.analysis.sweep.sweep`.
    """
    if orders is not None and (orders < 2 or orders % 2):
        raise CimsimError(f"orders are drawn in pairs; give an even number, not {orders}")
    names = physical_order(effects_of(evaluation.devices(run)))
    orders = orders or affordable_orders(names, evaluation.chips)
    drawn = [] if orders is None else draw_orders(names, orders)
    wanted: Iterable[frozenset[str]] = subsets(names)
    if orders is not None:
        wanted = (frozenset(order[:n]) for order in drawn for n in range(len(names) + 1))
    devices = dict.fromkeys(device_with(names, subset) for subset in wanted)
    sweep = evaluation.sweep(run, EffectsAxis(BUDGET, tuple(devices)))
    facts, found = facts_of(sweep.plan, evaluation), scores(sweep)
    metric = facts.measured
    finite(found.values(), metric)
    ideal = np.array(found[NOTHING])

    def game(subset: frozenset[str]) -> np.ndarray:
        now = np.array(found[device_with(names, subset)])
        lost: np.ndarray = now - ideal if metric.falls else ideal - now
        return lost

    errors = dict.fromkeys(names, 0.0)
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
        summary(NOTHING, found[NOTHING], metric.falls),
        summary(EVERYTHING, found[EVERYTHING], metric.falls),
        summary("lost", game(frozenset(names)).tolist()),
        tuple(sorted(each, key=lambda share: -share.lost.mean)),
        orders,
    )


def draw_attribution(found: Attribution) -> Figure:
    """A bar for each share, the largest on top, with its interval over chips and its number; the
    ends have the name (``gid``) ``shapley``."""
    facts, metric = found.facts, found.facts.measured
    rows = len(found.shares)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 2.0 + 0.46 * rows), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(rows)[::-1]
    values = [metric.factor * share.lost.mean for share in found.shares]
    errors = [metric.factor * np.nan_to_num(share.lost.half_width) for share in found.shares]
    colors = [COLORS[1] if value > 0 else COLORS[2] for value in values]
    axes.barh(places, values, color=colors, height=0.62)
    name_points(axes, values, places.tolist(), NAME)
    if facts.chips > 1:
        axes.errorbar(values, places, xerr=errors, fmt="none", color="black", capsize=3)
    for place, value, error, share in zip(places, values, errors, found.shares, strict=True):
        axes.annotate(
            metric.shown(share.lost.mean),
            (max(value + error, 0.0), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.1 * (high - low))
    axes.axvline(0.0, color="#555555", linewidth=1.0)
    axes.set_yticks(places, [share.name for share in found.shares])
    unit = "points" if metric.unit == "%" else metric.unit
    axes.set_xlabel(f"Share of the loss of {metric.title.lower()}{unit and f' ({unit})'}")
    axes.grid(axis="x", alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    how = "all subsets" if found.orders is None else f"{found.orders} drawn orders"
    figure.suptitle(
        f"{facts.where}{facts.aged}\nShapley values over {how}, mean of {facts.counted}; "
        f"together {metric.shown(found.lost.mean)}",
        fontsize=11,
    )
    return figure


def read_attribution(run: Path) -> Attribution:
    """The attribution of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = run / BUDGET / f"{NAME}.json"
    return read_result(path, Attribution, f"cimsim budget {run} --shapley")
