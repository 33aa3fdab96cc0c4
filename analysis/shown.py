"""What every result can do: be drawn, written, and shown in a terminal or a notebook.

This module imports no large library at the top, since the command line is described with results.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cimsim.analysis.sheet import Sheet as Sheet
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.files import make_folder, write_text
from cimsim.folders import named_folder
from cimsim.markup import table as html_table
from cimsim.sealing import sealed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self, Unpack

    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.figures.look import Look, LookKeywords

_DATA = (".json", ".csv")


class Shown(ABC):
    """A result that can be drawn, written and shown; its subclasses are frozen dataclasses."""

    stem: ClassVar[str]
    """Path of its files below a folder, without the extension."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        # A dataclass would print all of its numbers: 57,000 characters for the cost of a BERT.
        cls.__repr__ = Shown.__repr__  # type: ignore[method-assign]

    @abstractmethod
    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the numbers as a long table, the heading first."""

    @abstractmethod
    def sheet(self) -> Sheet:
        """Return the table to show."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Size and axes of the figure."""

    @abstractmethod
    def draw(self, panels: Panels) -> None:
        """Draw the result on the axes of :attr:`layout`."""

    def hover(self) -> dict[str, list[str]]:
        """Texts of the points of the figure's lines, by the lines' names (``gid``)."""
        return {}

    def more_sheets(self) -> Iterator[Sheet]:
        """Further tables to show."""
        yield from ()

    def derived(self) -> dict[str, Any]:
        """Numbers that are written to the JSON in addition to the fields."""
        return {}

    @property
    def file(self) -> str:
        """Path of its files below a folder, without the extension."""
        return self.stem

    @property
    def about(self) -> str:
        """The subject of the result, in one line."""
        return self.sheet().caption

    def renamed(self: Self, names: Sequence[str]) -> Self:
        """Return the same result with other names of its runs, for figures.

        Raises:
            CimsimError: if there are more or fewer names than runs.
        """
        raise CimsimError(
            f"labels: the figure of {self.stem} does not show names of runs; leave labels out"
        )

    def figure(self, **look: Unpack[LookKeywords]) -> Figure:
        """Return the figure, which no window shows; see :meth:`save` for the options ``look``."""
        from cimsim.analysis.figures.look import look_of

        return self.drawn(look_of(look))

    def drawn(self, look: Look) -> Figure:
        """Return the figure with ``look``, which no window shows.

        Raises:
            CimsimError: if an option of the look cannot be used.
        """
        from cimsim.analysis import figures

        named = self.renamed(look.names) if look.names else self
        return figures.canvas.drawn(named.layout, named.draw, look)

    def table(self) -> Any:
        """Return all numbers as a long table.

        Returns:
            A ``pandas.DataFrame`` if pandas is installed, otherwise a list with a dictionary for
            each row.
        """
        heading, *rows = self.rows()
        names = [str(name) for name in heading]
        if find_spec("pandas") is not None:
            import pandas

            return pandas.DataFrame(rows, columns=names)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def plot(self, ax: Any = None, **look: Unpack[LookKeywords]) -> Any:
        """Draw the result with matplotlib.

        Args:
            ax: axes to draw on, with the legend inside; several side by side for a result that is
                drawn on several. By default a new figure of ``matplotlib.pyplot``.
            look: options of the figure, see :meth:`save`. On your own axes its size, resolution and
                font are yours.

        Returns:
            The matplotlib axes, or an array of them if the result is drawn on several.

        Raises:
            CimsimError: if ``ax`` is something else, or another number of axes, or an option cannot
                be used.
        """
        from cimsim.analysis import figures

        chosen = figures.look.look_of(look)
        named = self.renamed(chosen.names) if chosen.names else self
        return figures.canvas.plotted(named.layout, named.draw, ax, chosen)

    def save(self, path: Path | str, **look: Unpack[LookKeywords]) -> list[Path]:
        """Write the result to a file, or to all files below a folder.

        Args:
            path: a name ending in .png, .svg or .pdf for the figure, in .csv or .json for the
                numbers; or a folder, below which figure and numbers are written under the names
                that the command line uses.
            look: options of the figure, which are those of the commands: ``size`` (``"9x6cm"``, or
                a pair of inches), ``dpi``, ``font``, ``title``, ``labels``, ``palette``, ``style``,
                and ``format`` for several files with the same name; see
                :class:`cimsim.analysis.figures.look.Look`.

        Returns:
            The files that were written.

        Raises:
            CimsimError: if the name ends in something else, an option cannot be used, or the file
                cannot be written.
        """
        from cimsim.analysis import figures

        path = named_folder(path)
        suffix = path.suffix.lower()
        chosen = figures.look.look_of(look)
        if suffix.removeprefix(".") in figures.canvas.FORMATS:
            formats = chosen.format or (suffix.removeprefix("."),)
            figure, files = self.drawn(chosen), [path.with_suffix(f".{name}") for name in formats]
            for file in files:
                figures.canvas.write(figure, file)
            return files
        if suffix in _DATA:
            make_folder(path.parent)
            write_text(path, self._text(suffix))
        elif path.is_dir() or not suffix:
            return write_result(path, self, chosen)
        else:
            raise CimsimError(
                f"{path}: a result is saved as .png, .svg, .pdf, .csv or .json; choose a name "
                "ending in one of these, or a folder for all"
            )
        return [path]

    def _text(self, suffix: str) -> str:
        """The text of a file of numbers."""
        if suffix == ".csv":
            return table_csv(self.rows())
        return json.dumps(sealed(json.loads(as_json(self))), indent=2) + "\n"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.about}>"

    def __str__(self) -> str:
        return "\n\n".join(map(str, (self.sheet(), *self.more_sheets())))

    def _repr_html_(self) -> str:
        """Figure and table for a notebook."""
        sheet = self.sheet()
        return self._figure_html() + html_table(
            sheet.headings, sheet.rows, sheet.caption, sheet.right
        )

    def _figure_html(self) -> str:
        from cimsim.analysis.figures.svg import inline_svg

        name = hashlib.sha256(as_json(self).encode()).hexdigest()[:12]
        svg = inline_svg(self.figure(), f"s{name}-", self.about)
        return f'<div style="fill:currentColor">{svg}</div>'


def plain(value: Any) -> Any:
    """``value`` as JSON holds it; numbers that are not finite as text, such as ``"inf"``."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def as_json(result: Shown) -> str:
    """Return a result as JSON."""
    fields = {**result.derived(), **asdict(result)}  # type: ignore[call-overload]
    return json.dumps(plain(fields), indent=2, allow_nan=False)


def write_result(folder: Path, result: Shown, look: Look | None = None) -> list[Path]:
    """Write a result below the subject's ``folder`` as .json, .csv, .png and .svg, and in further
    formats of ``look``; return their paths.

    Raises:
        CimsimError: if an option of ``look`` cannot be used, or a file cannot be written.
    """
    from cimsim.analysis import figures

    chosen = look or figures.look.USUAL
    figure = result.drawn(chosen)  # before anything is written
    stem = folder / result.file
    make_folder(stem.parent)
    files = [stem.with_name(f"{stem.name}{suffix}") for suffix in (*_DATA, ".png")]
    for path, suffix in zip(files, _DATA, strict=False):
        write_text(path, result._text(suffix))
    formats = figures.canvas.with_usual_formats(chosen)
    return [*files[:2], *figures.canvas.save(figure, files[2], formats)]
