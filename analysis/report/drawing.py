"""Figures of a report: narrow enough for a phone, and for two of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from cimsim.analysis.figures import curves
from cimsim.analysis.figures.canvas import Layout, Panels, drawn
from cimsim.analysis.figures.curves import Curve
from cimsim.analysis.shown import Shown
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.metric import Metric

WIDTH_IN = 5.4
"""Width of a figure. At this width, text on a 390-pixel phone is about the size of printed text."""


def figure_of(result: Shown) -> Figure:
    """The figure of a result."""
    return _drawn(result.layout, result.draw)


def curves_of(lines: Sequence[Curve], axis: Axis, metric: Metric) -> Figure:
    """A figure of curves."""
    layout = curves.layout_of(lines)
    return _drawn(layout, lambda panels: curves.draw_on(panels, lines, axis, metric))


def _drawn(layout: Layout, draw: Callable[[Panels], None]) -> Figure:
    """A figure whose title is its label, which the page writes."""

    def draw_without_title(panels: Panels) -> None:
        draw(panels)
        panels.figure.set_label(_take_title(panels.figure))

    return drawn(narrow(layout), draw_without_title)


def fitted(figure: Figure) -> Figure:
    """A figure that is drawn already, in the width of a report, and without its title, which the
    page has in its headings."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(min(width, WIDTH_IN), height)
    figure.suptitle("")
    return figure


def _take_title(figure: Figure) -> str:
    """Remove the title of a figure, and return it in one line: a page breaks it where it has to.

    Axes side by side keep their own titles.
    """
    titles = [figure.get_suptitle()]
    figure.suptitle("")
    for axes in figure.axes:
        titles.append(axes.get_title("left"))
        axes.set_title("", loc="left")
    return "; ".join(line for title in titles for line in title.splitlines() if line)


def narrow(layout: Layout) -> Layout:
    """``layout`` in the width of a report; lower, too, unless its height is that of its rows."""
    width = min(layout.width_in, WIDTH_IN)
    height = layout.height_in
    if not layout.rows:
        height = min(height, max(3.4, height * (width / layout.width_in) ** 0.5))
    return replace(layout, width_in=width, height_in=height)
