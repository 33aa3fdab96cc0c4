"""Loss and accuracy of trainings over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cimsim.analysis.figures.canvas import as_text, color, marker, new_figure, part_of, style
from cimsim.analysis.figures.curves import name_legend

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


def draw_training(trainings: Sequence[Training]) -> Figure:
    """Draw loss and accuracy (or RMSE) over epochs, in the colors that the runs have elsewhere.

    Both are means over an epoch, under the noise of the training.
    """
    figure = new_figure(9.0, 3.7 + 0.26 * len(trainings))
    lines = []
    for axes, (key, label, factor) in zip(figure.subplots(1, 2), panels(trainings), strict=True):
        lines = [_line(axes, training, key, factor) for training in trainings]
        axes.set(xlabel="Epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        style(axes)
    legend = figure.legend(
        handles=lines,
        labels=[as_text(training.name) for training in trainings],
        loc="outside lower center",
        frameon=False,
    )
    name_legend(legend, [training.number for training in trainings])
    return figure


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
