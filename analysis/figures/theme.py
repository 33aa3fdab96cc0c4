"""Colors, fonts and lines of the figure that is being drawn, from its look and matplotlib's styles.

:func:`applied` sets them for a block; everything that draws takes its colors from :func:`color`,
:func:`ink` and :func:`quiet`, and leaves the sizes of texts to matplotlib's settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.colors import ListedColormap, is_color_like, rgb2hex, to_rgb
from matplotlib.rcsetup import cycler

from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.figures.style_sheet import read_style
from cimsim.errors import CimsimError
from cimsim.suggest import shortened, unknown

# Okabe & Ito, "Color Universal Design", 2008: distinct with any color vision. Yellow is left out,
# which is too faint for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
DASHES = ("-", (0, (6, 2)), (0, (2, 1.2)), "-.", (0, (8, 2, 2, 2, 2, 2)), (0, (1, 1)), (0, (4, 4)))
"""Line styles that keep curves distinct in gray."""
_GRAYS = ("#000000", "#8C8C8C", "#4D4D4D", "#B0B0B0", "#6E6E6E", "#2B2B2B", "#9E9E9E")
_PALETTES = {"okabe-ito": COLORS, "gray": _GRAYS}
_MAPS = {"gray": "gray"}
_SAMPLES, _FAINT = 7, 0.85  # of a continuous colormap; its last part is too faint on white
_MOST_LISTED = 20
FONT_SIZE = 10.0
_FAMILIES = ("serif", "sans-serif", "monospace", "cursive", "fantasy")
_BASE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": "large",
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.titlesize": "large",
    "font.size": FONT_SIZE,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.7,
    "image.cmap": "cividis",
    "legend.fontsize": "medium",
    "legend.frameon": False,
}
# Text stays text: it can be searched, copied and edited.
_TEXT: dict[str, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "text.usetex": False}
_palette: ContextVar[tuple[str, ...]] = ContextVar("palette", default=COLORS)


@contextmanager
def applied(look: Look = USUAL) -> Iterator[dict[str, Any]]:
    """Within the block, figures are drawn with ``look``; yields the settings of its styles.

    Raises:
        CimsimError: if a style, the font or the palette is none.
    """
    styled: dict[str, Any] = {}
    for name in look.style:
        styled.update(read_style(name))
    if styled.get("text.usetex"):
        raise CimsimError(
            f"style {look.style[-1]}: text.usetex runs LaTeX, and cimsim keeps text as text; "
            "remove that line, or add a style that sets it to False"
        )
    settings: Any = {**_BASE, **styled, **_font(look), **_TEXT}
    colors: tuple[str, ...] = tuple(settings["axes.prop_cycle"].by_key().get("color", COLORS))
    if look.palette is not None:
        colors, colormap = palette_named(look.palette)
        settings |= {"axes.prop_cycle": cycler(color=colors)}
        settings |= {"image.cmap": colormap} if colormap else {}
    token = _palette.set(colors)
    try:
        with matplotlib.rc_context(settings):
            yield styled
    finally:
        _palette.reset(token)


def _font(look: Look) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if (size := look.font_size) is not None:
        settings["font.size"] = size
    family = look.font_family
    if family is None:
        return settings
    if family not in _FAMILIES:
        names = sorted({font.name for font in font_manager.fontManager.ttflist})
        known = {name.lower(): name for name in names}
        if family.lower() not in known:
            raise CimsimError(f"font: {unknown('font', family, [*_FAMILIES, *names])}")
        family = known[family.lower()]
    # Characters that are missing in a font are taken from the next one.
    return {**settings, "font.family": [family, "DejaVu Sans"]}


def palette_named(palette: str | Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the colors of a palette, and the name of its colormap; empty if it has none.

    Raises:
        CimsimError: if it is neither a name nor a list of colors.

    >>> palette_named("red, #0072B2")
    (('#ff0000', '#0072b2'), '')
    """
    if isinstance(palette, str):
        name = palette.strip()
        if name.lower() in _PALETTES:
            return _PALETTES[name.lower()], _MAPS.get(name.lower(), "")
        if name in matplotlib.colormaps:
            return _colors_of(name), name
        palette = [part.strip() for part in name.split(",")]
        if len(palette) == 1 and not is_color_like(name):
            known = [*_PALETTES, *matplotlib.colormaps]
            raise CimsimError(f"palette: {unknown('palette', name, known)}")
    for one in palette:
        if not is_color_like(one):
            raise CimsimError(
                f"palette: '{shortened(str(one))}' is not a color; use names such as red, or "
                "#0072B2"
            )
    if not palette:
        raise CimsimError("palette: there are no colors; set at least one")
    return tuple(rgb2hex(to_rgb(one)) for one in palette), ""


def _colors_of(name: str) -> tuple[str, ...]:
    colormap = matplotlib.colormaps[name]
    if isinstance(colormap, ListedColormap) and colormap.N <= _MOST_LISTED:
        return tuple(rgb2hex(colormap(index)) for index in range(colormap.N))
    return tuple(rgb2hex(colormap(_FAINT * i / (_SAMPLES - 1))) for i in range(_SAMPLES))


def check(look: Look) -> None:
    """Refuse a look that no figure can have, before anything is computed for one.

    Raises:
        CimsimError: if an option cannot be used.
    """
    _ = look.inches
    with applied(look):
        pass


def color(index: int) -> str:
    """The color of the curve with that number."""
    colors = _palette.get()
    return colors[index % len(colors)]


def marker(index: int) -> str:
    """The marker of the curve with that number; another one where colors repeat."""
    return MARKERS[(index + index // len(_palette.get())) % len(MARKERS)]


def dashes(index: int) -> Any:
    """The line style of the curve with that number."""
    return DASHES[index % len(DASHES)]


def ink() -> str:
    """The color of texts, and of marks as dark as these."""
    return rgb2hex(to_rgb(matplotlib.rcParams["text.color"]))


def paper() -> str:
    """The color behind everything."""
    return rgb2hex(to_rgb(matplotlib.rcParams["axes.facecolor"]))


def quiet() -> str:
    """A color between text and background, of lines that are less important.

    >>> quiet()
    '#555555'
    """
    pairs = zip(to_rgb(ink()), to_rgb(paper()), strict=True)
    red, green, blue = ((2 * dark + light) / 3 for dark, light in pairs)
    return rgb2hex((red, green, blue))
