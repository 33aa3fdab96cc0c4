"""Loss and accuracy of trainings over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cimsim.analysis.figures.canvas import Layout, Panels, as_text, drawn, part_of, style
from cimsim.analysis.figures.curves import name_legend
from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.figures.theme import color, marker

Panel: TypeAlias = "tuple[str, str, float]"
"""Key in ``metrics.jsonl``, label with unit, and factor of a panel."""

_CLASSES: tuple[Panel, ...] = (
    ("train_loss", "Training loss (nats)", 1.0),
    ("train_accuracy", "Accuracy (%)", 100.0),
)
_NUMBERS: tuple[Panel, ...] = (
    ("train_loss", "Training loss", 1.0),
    ("train_rmse", "RMSE", 1.0),
)


@dataclass(frozen=True)
class Training:
    """A run's name, the number that selects its color, and its metrics, one for each epoch."""

    name: str
    number: int
    epochs: Sequence[Mapping[str, Any]]


def has_rmse(trainings: Sequence[Training]) -> bool:
    """Return whether the trainings were on numbers instead of classes."""
    return any("train_rmse" in row for training in trainings for row in training.epochs)


def panels(trainings: Sequence[Training]) -> tuple[Panel, ...]:
    """The panels of trainings on the same data."""
    return _NUMBERS if has_rmse(trainings) else _CLASSES


def draw_training(trainings: Sequence[Training], look: Look = USUAL) -> Figure:
    """Draw loss and accuracy (or RMSE) over epochs, in the colors that the runs have elsewhere.

    Both are means over an epoch, under the noise of the training. A single run needs no legend, and
    its name is the title.
    """

    def on(both: Panels) -> None:
        lines = []
        for axes, (key, label, factor) in zip(both.axes, panels(trainings), strict=True):
            lines = [_line(axes, training, key, factor) for training in trainings]
            axes.set(xlabel="Epoch", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            style(axes)
        if len(trainings) == 1:
            both.title(trainings[0].name)
            return
        labels = [as_text(training.name) for training in trainings]
        legend = both.legend(columns=3, handles=lines, labels=labels)
        name_legend(legend, [training.number for training in trainings])

    height = 3.7 + (0.26 * len(trainings) if len(trainings) > 1 else 0.0)
    return drawn(Layout(9.0, height, columns=2), on, look)


def line_of(training: Training, key: str) -> str:
    """The name (``gid``) of the line of ``training`` in the panel of ``key``."""
    return part_of(training.number, key)


def _line(axes: Axes, training: Training, key: str, factor: float) -> Any:
    (line,) = axes.plot(
        [row["epoch"] for row in training.epochs],
        [factor * row[key] for row in training.epochs],
        color=color(training.number),
        marker=marker(training.number),
        markersize=4.5,
        linewidth=1.8,
        gid=line_of(training, key),
    )
    return line
