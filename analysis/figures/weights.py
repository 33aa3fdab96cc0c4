"""Distributions of trained weights, of weights on a chip, and of their differences."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.analysis.figures.canvas import Layout, Panels, style
from cimsim.analysis.figures.theme import color, quiet

LAYOUT = Layout(6.4, 3.3, columns=2)


@dataclass(frozen=True)
class Histogram:
    """Numbers of values in bins of equal width.

    Attributes:
        edges: edges of the bins, one more than there are counts.
        counts: number of values in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def percentages(self) -> list[float]:
        """The share of each bin in %."""
        return [100 * count / max(sum(self.counts), 1) for count in self.counts]


def draw(panels: Panels, trained: Histogram, on_chip: Histogram, errors: Histogram) -> None:
    """Draw the distributions of the weights on the left, and that of their errors on the right."""
    left, right = panels.axes
    left.stairs(
        trained.percentages,
        list(trained.edges),
        fill=True,
        color=quiet(),
        alpha=0.35,
        label="ideal",
    )
    left.stairs(
        on_chip.percentages,
        list(on_chip.edges),
        color=color(0),
        linewidth=1.6,
        label="on the chip",
    )
    left.set_xlabel("Weight")
    left.set_ylabel("Weights (%)")
    right.stairs(errors.percentages, list(errors.edges), fill=True, color=color(1), alpha=0.8)
    right.axvline(0, color=quiet(), linewidth=0.9)
    right.set_xlabel("Error of the weight")
    for axes in panels.axes:
        axes.set_ylim(bottom=0)
        style(axes)
    panels.legend(left, columns=2)
