"""The canvas that every figure is drawn on: size, style, colors, names of points, and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from cimsim.errors import CimsimError
from cimsim.files import make_folder, replacing
from cimsim.terminal import printable

# Okabe & Ito, "Color Universal Design", 2008: distinct with any color vision. Yellow is left out,
# which is too faint for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GRAY = "#555555"
Grid = Literal["x", "y", "both"]


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of that size, which no window shows."""
    figure = Figure(figsize=(width_in, height_in), layout=_engine())
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True)
class Layout:
    """Size of a figure and number of its axes, which are side by side; ``rows`` have one scale."""

    width_in: float
    height_in: float
    columns: int = 1
    rows: bool = False


def row_layout(rows: int, row_in: float, margin_in: float, columns: int = 1) -> Layout:
    """A layout with space for ``rows`` rows of bars or points."""
    return Layout(9.0, margin_in + row_in * rows, columns, rows=True)


@dataclass(frozen=True)
class Panels:
    """The axes that something is drawn on.

    Attributes:
        axes: the axes, from left to right.
        alone: whether their figure contains nothing else, so that titles and legends may be
            outside of the axes.
    """

    axes: tuple[Axes, ...]
    alone: bool = True

    @classmethod
    def of(cls, figure: Figure, layout: Layout) -> Panels:
        """Add the axes of ``layout`` to an empty ``figure``."""
        grid = figure.subplots(1, layout.columns, sharey=layout.rows, squeeze=False)
        return cls(tuple(grid[0]))

    @property
    def figure(self) -> Figure:
        """The figure that contains the axes."""
        figure = self.axes[0].figure
        while not isinstance(figure, Figure):
            figure = figure.figure
        return figure

    def title(self, text: str, fontsize: int = 11) -> None:
        """Write a title above all axes; not above a part of someone else's figure."""
        if self.alone:
            self.figure.suptitle(text, fontsize=fontsize)
        elif len(self.axes) == 1:
            self.axes[0].set_title(text, fontsize=10, loc="left")

    def legend(self, axes: Axes | None = None, columns: int = 3, **look: Any) -> Legend:
        """Put the legend of ``axes`` (by default the first) below the figure, or into the axes if
        the figure contains others; ``look`` are further arguments of ``Figure.legend``."""
        axes = axes or self.axes[0]
        if not look.get("handles"):
            look["handles"], look["labels"] = axes.get_legend_handles_labels()
        if not self.alone:
            return axes.legend(**{**look, "fontsize": 9})
        return self.figure.legend(loc="outside lower center", ncols=columns, frameon=False, **look)


def drawn(layout: Layout, draw: Callable[[Panels], None]) -> Figure:
    """A figure of that layout, which no window shows."""
    figure = new_figure(layout.width_in, layout.height_in)
    draw(Panels.of(figure, layout))
    return figure


def plotted(layout: Layout, draw: Callable[[Panels], None], ax: Any = None) -> Any:
    """Draw on ``ax``, or on the axes of a new figure of pyplot; see
    :meth:`cimsim.analysis.shown.Shown.plot`.

    Raises:
        CimsimError: if ``ax`` are not as many axes as are needed.
    """
    if ax is None:
        from matplotlib import pyplot

        size = (layout.width_in, layout.height_in)
        panels = Panels.of(pyplot.figure(figsize=size, layout=_engine()), layout)
    else:
        given = tuple(np.ravel(np.asarray(ax, dtype=object)))
        if len(given) != layout.columns or not all(isinstance(one, Axes) for one in given):
            kinds = ", ".join(type(one).__name__ for one in given) or "none"
            count = "one axes" if layout.columns == 1 else f"{layout.columns} axes side by side"
            raise CimsimError(
                f"plot: this result is drawn on {count} of matplotlib, but ax is {kinds}; give "
                "as many, or leave ax out for a new figure"
            )
        panels = Panels(given, alone=False)
        for other in given[1:] if layout.rows else ():
            other.sharey(given[0])
            other.tick_params(labelleft=False)
    draw(panels)
    return panels.axes[0] if layout.columns == 1 else np.array(panels.axes, dtype=object)


def _engine() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)


def style(axes: Axes, grid: Grid = "both") -> None:
    """Give ``axes`` the common style: a faint grid, and no frame at the top and right."""
    axes.grid(axis=grid, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def name_rows(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name the rows of ``axes`` at ``places``, the first at the top."""
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)


def row_places(rows: int) -> list[float]:
    """The heights of rows, the first at the top."""
    return [float(row) for row in reversed(range(rows))]


def annotate(axes: Axes, text: str, x: float, y: float) -> None:
    """Write ``text`` to the right of a point."""
    axes.annotate(text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=10)


def part_of(number: int, part: str, of: str = "run") -> str:
    """The name (``gid``) of a part of curve ``number`` in a figure's SVG; ``of`` is what the curves
    belong to.

    >>> part_of(2, "mean")
    'run-2-mean'
    """
    return f"{of}-{number}-{part}"


def name_points(axes: Axes, x: Sequence[float], y: Sequence[float], name: str) -> None:
    """Add invisible points named ``name`` (``gid``), at which a report shows values: of bars, cells
    or clouds, which are no lines."""
    axes.add_line(Line2D(x, y, linestyle="none", gid=name))


def color(index: int) -> str:
    """The color of the curve with that number."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """The marker of the curve with that number; another one where colors repeat."""
    return MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def as_text(label: str) -> str:
    """``label`` in a form that a legend shows even if it begins with '_'."""
    return f"\N{ZERO WIDTH SPACE}{label}" if label.startswith("_") else label


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write the figure as PNG and SVG, see :func:`write`.

    Raises:
        CimsimError: if ``path`` ends in neither .png nor .svg, or cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise CimsimError(f"{path}: a figure is written as PNG and SVG; give a name ending in .png")
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    write(figure, png)
    write(figure, svg)
    return png, svg


FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "png", "dpi": 150},
    ".svg": {"format": "svg", "metadata": {"Date": None}},
    ".pdf": {"format": "pdf", "metadata": {"CreationDate": None}},
}
"""The formats of figures by the ends of their files' names."""


def write(figure: Figure, path: Path) -> None:
    """Write the figure in the format of :data:`FORMATS` that ``path`` names; equal figures give
    equal bytes.

    Raises:
        CimsimError: if ``path`` cannot be written.
    """
    try:
        make_folder(path.parent)
        literal(figure)
        with matplotlib.rc_context({"svg.hashsalt": "cimsim"}), unusual_scripts():
            with replacing(path) as temporary:
                figure.savefig(temporary, **FORMATS[path.suffix.lower()])
    except OSError as error:
        raise CimsimError(
            f"{error.filename or path}: cannot be written ({error.strerror}); choose another --out"
        ) from None


@contextmanager
def unusual_scripts() -> Iterator[None]:
    """Within the block, matplotlib does not warn about characters that its font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph|Matplotlib currently does not support")
        yield


def literal(figure: Figure) -> Figure:
    """Return ``figure`` with its texts shown literally: a '$' begins no formula.

    Names come from files that may be from someone else. Only the numbers along an axis, which
    matplotlib writes itself, may be formulas.
    """
    written_by_matplotlib = {id(text) for axis in _axis_of(figure) for text in _numbers_at(axis)}
    for axis in _axis_of(figure):
        named = axis.get_major_formatter()
        if isinstance(named, _NAMED):
            axis.set_major_formatter(FuncFormatter(partial(_printable_name, named)))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if id(text) not in written_by_matplotlib:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
    return figure


_NAMED = (FixedFormatter, FuncFormatter)


def _printable_name(named: Formatter, place: float, position: int | None) -> str:
    return printable(named(place, position))


def _axis_of(figure: Figure) -> Iterator[Axis]:
    for axes in figure.axes:
        yield from (axes.xaxis, axes.yaxis)


def _numbers_at(axis: Axis) -> Iterator[Text]:
    yield axis.get_offset_text()
    labels = axis.get_ticklabels(which="both")  # which also makes them
    if not isinstance(axis.get_major_formatter(), _NAMED):
        yield from labels
