"""The look of figures: the options that every command with a figure and every ``save`` share.

This module imports no large library at the top, since the command line is described with it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from cimsim.analysis.study import option
from cimsim.errors import CimsimError

Format: TypeAlias = Literal["pdf", "svg", "png"]
NONE = "none"
"""The title of a figure without title."""
DPI = 150
_INCHES = {"in": 1.0, "": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_SMALLEST_IN, _LARGEST_IN, _MOST_PIXELS = 1.0, 60.0, 30_000
_SIZE = re.compile(r"(?P<width>[\d.]+)(?:\s*x\s*(?P<height>[\d.]+))?\s*(?P<unit>[a-z]*)")
_FONT = re.compile(r"(?P<family>.*?)\s*(?P<size>\d+(?:\.\d+)?)?(?:\s*pt)?")


def _formats(value: Any) -> tuple[Format, ...]:
    """
    Raises:
        ValueError: if one of the formats is unknown.
    """
    given = value.split(",") if isinstance(value, str) else value
    formats = tuple(str(name).strip().lower().removeprefix(".") for name in given)
    for name in formats:
        if name not in get_args(Format):
            raise ValueError("must be pdf, svg or png")
    return cast("tuple[Format, ...]", formats)


def _texts(value: Any) -> Any:
    """Styles as text."""
    if isinstance(value, str | Path):
        value = (value,)
    return tuple(str(one) if isinstance(one, Path) else one for one in value)


class Look(BaseModel):
    """The look of a figure and the formats of its files.

    >>> Look(size="90x60mm", font="serif 8", palette="gray").font_size
    8.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[tuple[Format, ...], BeforeValidator(_formats)] = option(
        (),
        "Format of the figure's file: pdf, svg or png; can be repeated.",
        metavar="pdf|svg|png",
        default_text="png and svg",
    )
    dpi: int | None = option(
        None, "Pixels per inch of a PNG.", ge=20, le=2400, default_text=str(DPI)
    )
    size: str | tuple[float, float] | None = option(
        None,
        "Width and height of the figure, such as 9x6cm or 3.5x2.6in, or its width alone.",
        metavar="WxH",
        default_text="as large as it needs",
    )
    font: str | float | None = option(
        None,
        "Font family, size in points, or both: 'Times New Roman', 8 or 'serif 8'.",
        metavar="FAMILY SIZE",
        default_text="DejaVu Sans 10, less if the figure is small",
    )
    title: str | None = option(
        None, "Title of the figure; none for no title.", default_text="facts of the result"
    )
    labels: str | tuple[str, ...] | None = option(
        None,
        "Names of the runs in the figure, with commas between them.",
        metavar="A,B,…",
        default_text="names of their folders",
    )
    palette: str | tuple[str, ...] | None = option(
        None,
        "Colors: okabe-ito, gray, a colormap of matplotlib, or colors with commas between them.",
        metavar="NAME",
        default_text="okabe-ito",
    )
    style: Annotated[tuple[str, ...], BeforeValidator(_texts)] = option(
        (),
        "Matplotlib style: a file or an installed name; can be repeated, the last one wins.",
        metavar="FILE",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the runs; empty for their own."""
        if self.labels is None:
            return ()
        if isinstance(self.labels, tuple):
            return self.labels
        return tuple(
            name.strip() for name in next(csv.reader([self.labels], skipinitialspace=True))
        )

    @property
    def shown_title(self) -> str | None:
        """The title; empty for none at all, None for the figure's own."""
        return "" if self.title is not None and self.title.lower() == NONE else self.title

    @property
    def inches(self) -> tuple[float, float | None] | None:
        """Width and height in inches, the height None if only the width is given.

        Raises:
            CimsimError: if the size cannot be read, or nothing can be drawn in it.
        """
        if self.size is None:
            return None
        width, height = self._read_size()
        for side in (width, height):
            if side is None:
                continue
            pixels = side * (self.dpi or DPI)
            if not _SMALLEST_IN <= side <= _LARGEST_IN or pixels > _MOST_PIXELS:
                raise CimsimError(
                    f"size {self._given_size}: each side must be from {_SMALLEST_IN:g} to "
                    f"{_LARGEST_IN:g} inches, and at most {_MOST_PIXELS:,} pixels"
                )
        return width, height

    @property
    def _given_size(self) -> str:
        return self.size if isinstance(self.size, str) else "x".join(map(str, self.size or ()))

    def _read_size(self) -> tuple[float, float | None]:
        if isinstance(self.size, tuple):
            return self.size
        read = _SIZE.fullmatch(
            (self.size or "").strip().lower().replace("\N{MULTIPLICATION SIGN}", "x")
        )
        try:
            if read is None or read["unit"] not in _INCHES:
                raise ValueError
            inch = _INCHES[read["unit"]]
            return float(read["width"]) * inch, (
                None if read["height"] is None else float(read["height"]) * inch
            )
        except ValueError:
            raise CimsimError(
                f"size: must be a width and a height, such as 9x6cm or 3.5x2.6in, not '{self.size}'"
            ) from None

    @property
    def font_family(self) -> str | None:
        """The family of the font, if one is given."""
        return self._font[0] or None

    @property
    def font_size(self) -> float | None:
        """The size of the font in points, if one is given.

        Raises:
            CimsimError: if it is not from 2 to 100.
        """
        size = self._font[1]
        if size is not None and not 2 <= size <= 100:
            raise CimsimError(f"font {self.font}: its size must be from 2 to 100 points")
        return size

    @property
    def _font(self) -> tuple[str, float | None]:
        if self.font is None:
            return "", None
        if isinstance(self.font, float):
            return "", self.font
        read = _FONT.fullmatch(self.font.strip())
        assert read is not None
        return read["family"], None if read["size"] is None else float(read["size"])


USUAL = Look()
"""The look without any option."""


class LookKeywords(TypedDict, total=False):
    """The fields of :class:`Look` as keywords of ``save``, ``figure`` and ``plot``.

    ``size`` may be a pair of inches, ``font`` a number of points, ``labels`` and ``palette`` lists.
    """

    format: str | Sequence[str]
    dpi: int | None
    size: str | tuple[float, float] | None
    font: str | float | None
    title: str | None
    labels: str | Sequence[str] | None
    palette: str | Sequence[str] | None
    style: str | Path | Sequence[str | Path]


def look_of(given: Mapping[str, Any]) -> Look:
    """Make a look from keywords.

    Raises:
        CimsimError: if one is unknown or invalid.
    """
    unknown_names = [name for name in given if name not in Look.model_fields]
    if unknown_names:
        raise CimsimError(
            f"a figure has no option {unknown_names[0]}; its options are "
            f"{', '.join(Look.model_fields)}"
        )
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    try:
        return Look(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise CimsimError(
            f"{first['loc'][0]}: {first['msg'].lower().removeprefix('value error, ')}, not "
            f"{first['input']!r}"
        ) from None
