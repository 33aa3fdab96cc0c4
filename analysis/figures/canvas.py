"""The canvas that every figure is drawn on: size, axes, names of points, and files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from cimsim.analysis.figures.look import DPI, USUAL, Look
from cimsim.analysis.figures.room import KEY, legend_that_fits, make_room
from cimsim.analysis.figures.theme import FONT_SIZE, applied, ink, paper, quiet
from cimsim.errors import CimsimError
from cimsim.files import make_folder, replacing
from cimsim.terminal import printable

Grid = Literal["x", "y", "both"]
_SMALLEST_FONT, _THINNEST = 6.5, 0.5


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
        titled: whether the user has given another title, or none.
    """

    axes: tuple[Axes, ...]
    alone: bool = True
    titled: bool = False

    @classmethod
    def of(cls, figure: Figure, layout: Layout, titled: bool = False) -> Panels:
        """Add the axes of ``layout`` to an empty ``figure``."""
        grid = figure.subplots(1, layout.columns, sharey=layout.rows, squeeze=False)
        return cls(tuple(grid[0]), titled=titled)

    @property
    def figure(self) -> Figure:
        """The figure that contains the axes."""
        figure = self.axes[0].figure
        while not isinstance(figure, Figure):
            figure = figure.figure
        return figure

    def title(self, text: str) -> None:
        """Write a title above all axes; not above several that are a part of someone else's figure,
        and not if the user has given another one."""
        if self.titled:
            return
        if self.alone:
            self.figure.suptitle(text)
        elif len(self.axes) == 1:
            self.axes[0].set_title(text, loc="left")

    def legend(self, axes: Axes | None = None, columns: int = 3, **look: Any) -> Legend:
        """Put the legend of ``axes`` (by default the first) below the figure, or into the axes if
        the figure contains others; ``look`` are further arguments of ``Figure.legend``."""
        axes = axes or self.axes[0]
        if not look.get("handles"):
            look["handles"], look["labels"] = axes.get_legend_handles_labels()
        look.setdefault("labels", [str(handle.get_label()) for handle in look["handles"]])
        if not self.alone:
            return axes.legend(**{**look, "fontsize": "small", "frameon": True})
        return legend_that_fits(self.figure, columns, loc="outside lower center", **look)

    def key(self, handles: Sequence[Artist], labels: Sequence[str]) -> None:
        """Explain kinds of lines and marks above the axes, in gray; only in a figure that contains
        nothing else."""
        if self.alone:
            legend_that_fits(
                self.axes[0],
                len(labels),
                handles=handles,
                labels=labels,
                loc="lower left",
                bbox_to_anchor=(0.0, 1.0),
                borderaxespad=0.2,
                borderpad=0.2,
                fontsize="small",
                labelcolor=quiet(),
                columnspacing=1.4,
            ).set_gid(KEY)


def drawn(layout: Layout, draw: Callable[[Panels], None], look: Look = USUAL) -> Figure:
    """A figure of that layout, which no window shows; sizes of ``look`` replace the layout's.

    Raises:
        CimsimError: if an option of ``look`` cannot be used.
    """

    def of_size(size: tuple[float, float]) -> Figure:
        figure = new_figure(*size)
        draw(Panels.of(figure, layout, titled=look.title is not None))
        return figure

    return looking((layout.width_in, layout.height_in), of_size, look)


def looking(
    usual_in: tuple[float, float],
    draw: Callable[[tuple[float, float]], Figure],
    look: Look = USUAL,
) -> Figure:
    """The figure that ``draw`` makes of a width and height in inches, with ``look``, and with every
    text where there is room for it.

    Args:
        usual_in: the figure's own size.
        draw: makes it.
        look: its look.

    Raises:
        CimsimError: if an option of ``look`` cannot be used.
    """
    with applied(look) as styled:
        size = _size(usual_in, look, styled)
        factor = math.sqrt(min(1.0, size[0] / usual_in[0], size[1] / usual_in[1]))
        with matplotlib.rc_context(_smaller(factor, look, styled)):
            figure = draw(size)
            _weigh(figure, max(_THINNEST, matplotlib.rcParams["font.size"] / FONT_SIZE))
            if look.shown_title is not None:
                figure.suptitle(look.shown_title)
            figure.set_dpi(_dpi(look, styled))
            make_room(literal(figure))
    return figure


def _size(
    usual_in: tuple[float, float], look: Look, styled: Mapping[str, Any]
) -> tuple[float, float]:
    if look.inches is None:
        width, height = styled.get("figure.figsize", usual_in)
        return float(width), float(height)
    width, own_height = look.inches
    return width, own_height or width * usual_in[1] / usual_in[0]


def _smaller(factor: float, look: Look, styled: Mapping[str, Any]) -> Any:
    """Settings of a figure that is smaller than usual, unless the sizes of its texts are given."""
    if factor == 1 or look.font_size is not None or "font.size" in styled:
        return {}
    size = max(_SMALLEST_FONT, matplotlib.rcParams["font.size"] * factor)
    return {"font.size": size, "figure.titlesize": "medium", "axes.labelsize": "medium"}


def _weigh(figure: Figure, factor: float) -> None:
    """Make lines and marks wider by ``factor``, in proportion to the font."""
    if factor == 1:
        return
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    lines = [line for legend in legends if legend is not None for line in legend.legend_handles]
    for axes in figure.axes:
        lines += [*axes.lines, *axes.patches]
    for line in lines:
        if isinstance(line, Line2D):
            line.set_markersize(factor * line.get_markersize())
            line.set_markeredgewidth(factor * line.get_markeredgewidth())
        if isinstance(line, Line2D | Patch):
            line.set_linewidth(factor * line.get_linewidth())
    for axes in figure.axes:
        for collection in axes.collections:
            collection.set_linewidth(np.multiply(factor, collection.get_linewidth()).tolist())
            if isinstance(collection, PathCollection):
                collection.set_sizes(factor**2 * collection.get_sizes())


def _dpi(look: Look, styled: Mapping[str, Any]) -> float:
    if look.dpi is not None:
        return float(look.dpi)
    given = styled.get("savefig.dpi", "figure")
    return float(DPI if given == "figure" else given)


def plotted(
    layout: Layout,
    draw: Callable[[Panels], None],
    ax: Any = None,
    look: Look = USUAL,
) -> Any:
    """Draw on ``ax``, or on the axes of a new figure of pyplot; see
    :meth:`cimsim.analysis.shown.Shown.plot`.

    Raises:
        CimsimError: if ``ax`` are not as many axes as are needed, or an option of ``look`` cannot
            be used.
    """
    if ax is None:
        from matplotlib import pyplot

        made: list[Panels] = []

        def of_size(size: tuple[float, float]) -> Figure:
            figure = pyplot.figure(figsize=size, layout=_engine())
            made.append(Panels.of(figure, layout, titled=look.title is not None))
            draw(made[0])
            return figure

        dpi = matplotlib.rcParams["figure.dpi"]
        figure = looking((layout.width_in, layout.height_in), of_size, look)
        figure.set_dpi(dpi if look.dpi is None else look.dpi)
        (panels,) = made
    else:
        given = tuple(np.ravel(np.asarray(ax, dtype=object)))
        if len(given) != layout.columns or not all(isinstance(one, Axes) for one in given):
            kinds = ", ".join(type(one).__name__ for one in given) or "none"
            count = "one axes" if layout.columns == 1 else f"{layout.columns} axes side by side"
            raise CimsimError(
                f"plot: this result is drawn on {count} of matplotlib, but ax is {kinds}; pass "
                "as many, or leave ax out for a new figure"
            )
        panels = Panels(given, alone=False, titled=look.title is not None)
        for other in given[1:] if layout.rows else ():
            other.sharey(given[0])
            other.tick_params(labelleft=False)
        with applied(look):
            draw(panels)
            if look.shown_title is not None:
                panels.axes[0].set_title(look.shown_title, loc="left")
    return panels.axes[0] if layout.columns == 1 else np.array(panels.axes, dtype=object)


def _engine() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)


def style(axes: Axes, grid: Grid = "both") -> None:
    """Give ``axes`` the common style: by default a faint grid, and no frame at the top and
    right."""
    settings: Any = matplotlib.rcParams
    if settings["axes.grid"]:
        axes.grid(False)
        axes.grid(axis=grid, alpha=settings["grid.alpha"], linewidth=settings["grid.linewidth"])
    axes.set_axisbelow(settings["axes.axisbelow"])
    for side in ("top", "right"):
        axes.spines[side].set_visible(settings[f"axes.spines.{side}"])


def name_rows(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name the rows of ``axes`` at ``places``, the first at the top."""
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)


def row_places(rows: int) -> list[float]:
    """The heights of rows, the first at the top."""
    return [float(row) for row in reversed(range(rows))]


def mark_cut(axes: Axes, places: Sequence[float] = ()) -> None:
    """Mark that the horizontal axis of ``axes`` does not begin at zero: two strokes on it, and on
    the bars at ``places``."""
    look: dict[str, Any] = {"clip_on": False, "zorder": 5}
    strokes: dict[str, Any] = {
        "marker": [(-0.5, -1), (0.5, 1)],
        "markersize": 9,
        "linestyle": "none",
    }
    for x in (0.012, 0.02):
        axes.plot(x, 0, transform=axes.transAxes, color=ink(), mew=1.1, **strokes, **look)
        level = axes.get_yaxis_transform()
        for place in places:
            axes.plot(x, place, transform=level, color=paper(), mew=1.8, **strokes, **look)


def draw_intervals(
    axes: Axes, x: Sequence[float], places: Sequence[float], widths: Sequence[float]
) -> None:
    """Draw intervals over bars: ``widths`` to both sides of ``x``, on a lighter line, so that they
    can be seen on any color."""
    axes.errorbar(x, places, xerr=widths, fmt="none", ecolor=paper(), elinewidth=2.6)
    axes.errorbar(x, places, xerr=widths, fmt="none", ecolor=ink(), elinewidth=1.2, capsize=3)


def annotate(axes: Axes, text: str, x: float, y: float, **look: Any) -> None:
    """Write ``text`` to the right of a point; ``look`` are properties of the text."""
    look = {"textcoords": "offset points", "va": "center", "fontsize": "small", **look}
    axes.annotate(text, (x, y), xytext=(5, 0), **look)


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


_MARK = "\N{ZERO WIDTH SPACE}"


def as_text(label: str) -> str:
    """``label`` in a form that a legend shows even if it begins with '_'."""
    return f"{_MARK}{label}" if label.startswith("_") else label


FORMATS: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
"""The formats of figures, and how equal figures give equal bytes."""
USUAL_FORMATS = ("png", "svg")


def save(figure: Figure, path: Path, look: Look = USUAL) -> list[Path]:
    """Write the figure as PNG and SVG, or in the formats of ``look``; a name that ends in .pdf is
    written as PDF only.

    Raises:
        CimsimError: if ``path`` ends in something else, or cannot be written.
    """
    files = files_of(path, look)
    for file in files:
        write(figure, file)
    return files


def with_usual_formats(look: Look) -> Look:
    """``look`` with PNG and SVG in addition to its formats: a result's own files, so that none of
    an older result is left."""
    return look.model_copy(update={"format": (*USUAL_FORMATS, *look.format)})


def files_of(path: Path, look: Look = USUAL) -> list[Path]:
    """The files that :func:`save` writes.

    Raises:
        CimsimError: if ``path`` does not end in .png, .svg or .pdf.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise CimsimError(
            f"{path}: a figure is written as PNG and SVG, or as PDF; choose a name ending in .png "
            "or .pdf"
        )
    formats = look.format or (("pdf",) if suffix == "pdf" else USUAL_FORMATS)
    return [path.with_suffix(f".{name}") for name in dict.fromkeys(formats)]


def write(figure: Figure, path: Path) -> None:
    """Write the figure in the format of :data:`FORMATS` that ``path`` names; equal figures give
    equal bytes.

    Raises:
        CimsimError: if ``path`` cannot be written.
    """
    name = path.suffix.lower().removeprefix(".")
    try:
        make_folder(path.parent)
        literal(figure)
        with matplotlib.rc_context(_WRITTEN), unusual_scripts(), replacing(path) as temporary:
            figure.savefig(temporary, format=name, dpi=figure.dpi, **FORMATS[name])
    except OSError as error:
        raise CimsimError(
            f"{error.filename or path}: cannot be written ({error.strerror}); choose another --out"
        ) from None


# Text stays text: it can be searched, copied and edited.
_WRITTEN: Any = {
    "svg.hashsalt": "cimsim",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
    "savefig.edgecolor": "auto",
    "savefig.transparent": False,
}


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
            text.set_text(printable(text.get_text().removeprefix(_MARK)))
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
