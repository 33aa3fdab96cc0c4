"""What a position of the controls shows, part by part, the fastest first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Protocol

from cimsim.analysis import figures
from cimsim.analysis.figures.canvas import Layout, Panels
from cimsim.analysis.figures.svg import inline_svg
from cimsim.analysis.labels import layer_name
from cimsim.app.results import Accuracy
from cimsim.app.session import Session
from cimsim.app.setting import Setting
from cimsim.app.worker import Ticket, Worker
from cimsim.quantities import quantity

CAPTIONS = {
    "accuracy": "Accuracy",
    "energy": "Energy of an inference",
    "weights": "Error of the weights",
    "signals": "Signal-to-noise ratio",
}
"""The parts of the page that have a number, and what it is."""

CURVE = "curve"

_REDRAWN_S = 0.7  # a growing curve is drawn again after this time
_WIDTH_IN = 6.4
_CURVE = Layout(_WIDTH_IN, 4.3)
_KEPT = 32
_numbers = count()


class Drawable(Protocol):
    """A result with a figure."""

    @property
    def layout(self) -> Layout:
        """Size and axes of the figure."""


@dataclass(frozen=True)
class Update:
    """New content of a part of the page.

    Attributes:
        part: one of :data:`CAPTIONS`, or :data:`CURVE`.
        headline: the most important number; empty if only the figure is new.
        caption: what the number is.
        details: further sentences.
        svg: the figure, as an element of HTML; empty if only the number is new.
        progress: what is still being computed of this part.
    """

    part: str
    headline: str = ""
    caption: str = ""
    details: tuple[str, ...] = ()
    svg: str = ""
    progress: str = ""


async def updates(
    worker: Worker, session: Session, setting: Setting, ticket: Ticket
) -> AsyncIterator[Update]:
    """Compute everything for ``setting`` and yield it part by part.

    Raises:
        SupersededError: if ``ticket`` was withdrawn.
        CimsimError: if the profile does not fit the network, or its data is missing.
    """
    accuracy = await worker.run(ticket, partial(session.accuracy, setting, ticket.check))
    yield _accuracy(accuracy)
    for compute in (_energy, _weights, _signals):  # numbers first, since drawing takes longer
        yield await worker.run(ticket, partial(compute, session, setting))
    finished = set(session.finished(setting))
    if len(finished) > 1:
        yield await worker.run(ticket, partial(_curve, session, setting, sorted(finished)))
    for compute in (_weights_figure, _signals_figure, _energy_figure):
        yield await worker.run(ticket, partial(compute, session, setting))
    # From the current level to both sides, so that its surroundings are drawn first.
    missing = sorted(set(session.levels(setting)) - finished, key=lambda x: abs(x - setting.noise))
    drawn_at = time.monotonic()
    for level in missing:
        await worker.run(ticket, partial(session.sweep, setting, [level], ticket.check))
        finished.add(level)
        if level == missing[-1] or time.monotonic() - drawn_at > _REDRAWN_S:
            yield await worker.run(ticket, partial(_curve, session, setting, sorted(finished)))
            drawn_at = time.monotonic()


def _accuracy(accuracy: Accuracy) -> Update:
    return Update("accuracy", accuracy.headline, accuracy.title, accuracy.details)


def _energy(session: Session, setting: Setting) -> Update:
    cost = session.cost(setting)
    energy = quantity(cost.energy_pJ.total * 1e-12, "J")
    latency = quantity(cost.latency_ns * 1e-9, "s")
    rate = quantity(cost.tops_per_W * 1e12, "OPS/W")
    text = f"{latency} for an inference, {rate}, on {cost.profile}."
    return Update("energy", energy, CAPTIONS["energy"], (text, cost.rests_on, *cost.warnings))


def _weights(session: Session, setting: Setting) -> Update:
    weights = session.weights(setting)
    largest = f"the largest weight of {layer_name(weights.layer)}, on chip {setting.chip}"
    text = f"Root mean square of the errors, divided by {largest}."
    return Update("weights", weights.headline, CAPTIONS["weights"], (text,))


def _signals(session: Session, setting: Setting) -> Update:
    signals = session.signals(setting)
    text = f"Lowest: {signals.lowest}. Power of a layer's output, divided by that of its error."
    return Update("signals", signals.headline, CAPTIONS["signals"], (text,))


def _energy_figure(session: Session, setting: Setting) -> Update:
    label = "Energy of an inference by layer and part of the chip"
    cost = session.cost(setting)

    def draw(panels: Panels) -> None:
        cost.draw(panels)
        panels.figure.suptitle("")  # the page states it as text

    return Update("energy", svg=_drawn(cost, draw, label))


def _weights_figure(session: Session, setting: Setting) -> Update:
    weights = session.weights(setting)
    label = f"Weights of {layer_name(weights.layer)}, ideal and on the chip"
    return Update("weights", svg=_drawn(weights, weights.draw, label))


def _signals_figure(session: Session, setting: Setting) -> Update:
    signals = session.signals(setting)
    return Update("signals", svg=_drawn(signals, signals.draw, "Signal-to-noise ratio by layer"))


def _curve(session: Session, setting: Setting, levels: Sequence[float]) -> Update:
    swept, accuracy = session.sweep(setting, levels), session.accuracy(setting)

    def draw(panels: Panels) -> None:
        swept.draw(panels)
        figures.present.mark(panels, swept.axis, accuracy.point, accuracy.metric)

    count = len(session.levels(setting))
    progress = "" if len(levels) == count else f"{len(levels)} of {count} levels"
    label = f"{accuracy.metric.title} over the noise, with the current noise marked"
    return Update(CURVE, svg=_svg(_CURVE, draw, label), progress=progress)


_drawings: OrderedDict[tuple[int, str], tuple[Drawable, str]] = OrderedDict()


def _drawn(result: Drawable, draw: Callable[[Panels], None], label: str) -> str:
    """The figure of a result that the session keeps; it is drawn once."""
    key = (id(result), label)
    if key not in _drawings:
        _drawings[key] = result, _svg(result.layout, draw, label)
        while len(_drawings) > _KEPT:
            _drawings.popitem(last=False)
    return _drawings[key][1]


def _svg(layout: Layout, draw: Callable[[Panels], None], label: str) -> str:
    """A figure as an element of HTML, as wide as a phone shows it and with ids of its own."""
    narrow = replace(layout, width_in=min(layout.width_in, _WIDTH_IN))
    return inline_svg(figures.canvas.drawn(narrow, draw), f"f{next(_numbers)}-", label)
