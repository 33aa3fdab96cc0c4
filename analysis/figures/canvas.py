"""The canvas that every figure is drawn on: size, style, colors, names of points, and files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
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
    figure = Figure(
        figsize=(width_in, height_in), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    )
    FigureCanvasAgg(figure)
    return figure


def row_figure(rows: int, row_in: float, margin_in: float, columns: int = 1) -> Figure:
    """Return a figure of axes side by side, with space for ``rows`` rows of bars or points."""
    figure = new_figure(9.0, margin_in + row_in * rows)
    figure.subplots(1, columns, sharey=True)
    return figure


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


def legend_below(figure: Figure, axes: Axes | None = None, columns: int = 3) -> None:
    """Put the legend of ``axes``, or of all, below the figure."""
    entries = axes.get_legend_handles_labels() if axes is not None else ()
    figure.legend(*entries, loc="outside lower center", ncols=columns, frameon=False)


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
    """Write the figure as PNG (150 dpi) and SVG; equal figures give equal bytes.

    Raises:
        CimsimError: if ``path`` ends in neither .png nor .svg, or cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise CimsimError(f"{path}: a figure is written as PNG and SVG; give a name ending in .png")
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    try:
        make_folder(path.parent)
        literal(figure)
        with matplotlib.rc_context({"svg.hashsalt": "cimsim"}), unusual_scripts():
            with replacing(png) as temporary:
                figure.savefig(temporary, format="png", dpi=150)
            with replacing(svg) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
    except OSError as error:
        raise CimsimError(
            f"{error.filename or path}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    return png, svg


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
