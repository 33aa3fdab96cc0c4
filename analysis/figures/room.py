"""Room for the texts of a figure: whatever its size, none covers another or leaves the canvas.

Titles and labels of axes are wrapped; names of rows are wrapped, shortened in the middle, and
smaller if there are many; ticks with names are fewer, or turned, where they would touch; numbers
within the axes are smaller. Nothing changes where there is room.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from cimsim.errors import CimsimError

KEY = "key"
"""The name (``gid``) of a legend above the axes, which may be wider."""
_PASSES = 3
_TITLE = 0.2  # largest part of the height that a title takes
_NAMES = 0.36  # largest part of the width that names of rows take
_EDGE = 0.98  # part of the width that texts may take
_BESIDE_LABELS = 0.84
_SMALLEST_PT, _SMALLER = 4.0, 0.9
_SHORTEST = 8  # characters of a name that is shortened
_LEADING = 1.1  # room between rows
_TOUCH = 1.5  # pixels that texts may share: their boxes are a little larger than their letters


def make_room(figure: Figure) -> None:
    """Rearrange the texts of ``figure`` where they have no room.

    Raises:
        CimsimError: if the figure is too small for its texts.
    """
    _laid_out(figure)
    before = _texts(figure)
    for _ in range(_PASSES):
        _wrap_titles(figure)
        for axes in figure.axes:
            _wrap_labels(axes)
            _fit_rows(axes)
            _thin_ticks(axes)
        now = _texts(figure)
        if now == before:
            break
        _laid_out(figure)
        before = now
    for axes in figure.axes:
        _shrink_texts(axes)
    if _texts(figure) != before:
        _laid_out(figure)
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None and legend.get_gid() != KEY and not _within(legend, axes):
            raise _too_small(figure)


def legend_that_fits(
    owner: Figure | Axes, columns: int, room: float | None = None, **look: Any
) -> Legend:
    """A legend of ``owner`` with as many of ``columns`` as there is room for, which is a part of
    the figure's width; names are shortened in the middle if one column is too wide."""
    labels = list(look.pop("labels"))
    figure = owner if isinstance(owner, Figure) else owner.get_figure()
    assert figure is not None
    if room is None:
        # Labels of an axis and its ticks are beside a legend of axes.
        room = _EDGE if owner is figure else _BESIDE_LABELS
    longest = max(map(len, labels), default=0)
    while True:
        legend = owner.legend(labels=labels, ncols=columns, **look)
        over = legend.get_window_extent().width / (room * figure.bbox.width)
        if over <= 1 or (columns == 1 and longest <= _SHORTEST):
            return legend
        legend.remove()
        if columns > 1:
            columns -= 1
        else:
            longest = max(_SHORTEST, min(longest - 1, int(longest / over)))
            labels = [shorter(label, longest) for label in labels]


def shorter(text: str, length: int) -> str:
    """``text`` with its middle left out, if it is longer than ``length``.

    >>> shorter("cell.programming_noise", 11)
    'cell.…noise'
    """
    if len(text) <= length:
        return text
    left = (length - 1) // 2
    return f"{text[:left]}…{text[len(text) - (length - 1 - left) :]}"


def _texts(figure: Figure) -> list[tuple[str, float, float]]:
    """All texts that are seen, with their sizes and angles."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    return [(t.get_text(), float(t.get_fontsize()), float(t.get_rotation())) for t in texts]


def _within(legend: Legend, axes: Axes) -> bool:
    box = legend.get_window_extent()
    return bool(box.width <= axes.bbox.width and box.height <= axes.bbox.height)


def _laid_out(figure: Figure) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph|Matplotlib currently does not support")
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            figure.draw_without_rendering()
        except UserWarning:
            raise _too_small(figure) from None


def _too_small(figure: Figure) -> CimsimError:
    width, height = figure.get_size_inches()
    return CimsimError(
        f"size: {width:.3g} x {height:.3g} inches is too small for the texts of this figure; use "
        "a larger size, a smaller font, or the title none"
    )


def _wrap_titles(figure: Figure) -> None:
    if (title := figure.get_suptitle()) and (text := _suptitle(figure, title)):
        _wrap(text, _EDGE * figure.bbox.width)
        if text.get_window_extent().height > _TITLE * figure.bbox.height:
            text.set_fontsize(max(_SMALLEST_PT, _SMALLER * float(text.get_fontsize())))
    for axes in figure.axes:
        room = _EDGE * (figure.bbox.width if _is_alone(axes) else axes.bbox.width)
        for text in (axes.title, axes._left_title):  # type: ignore[attr-defined]
            if _is_alone(axes):
                room = min(room, _EDGE * (figure.bbox.x1 - axes.bbox.x0))
            _wrap(text, room)


def _is_alone(axes: Axes) -> bool:
    return sum(other.get_title(loc="left") + other.get_title() != "" for other in _of(axes)) < 2


def _of(axes: Axes) -> Sequence[Axes]:
    figure = axes.figure
    return figure.axes if figure is not None else ()


def _suptitle(figure: Figure, title: str) -> Text | None:
    return next((text for text in figure.texts if text.get_text() == title), None)


def _wrap_labels(axes: Axes) -> None:
    _wrap(axes.xaxis.label, max(axes.bbox.width, 1.0))
    _wrap(axes.yaxis.label, max(axes.bbox.height, 1.0), upright=True)


def _wrap(text: Text, room: float, upright: bool = False) -> None:
    """Break the lines of ``text`` so that they are at most ``room`` pixels long."""
    words = text.get_text()
    if not words.strip():
        return
    box = text.get_window_extent()
    length = box.height if upright else box.width
    if length <= room:
        return
    longest = max(map(len, words.splitlines()))
    most = max(_SHORTEST, int(longest * room / length))
    text.set_text("\n".join(part for line in words.splitlines() for part in _balanced(line, most)))


def _balanced(line: str, most: int) -> list[str]:
    """``line`` in as few lines of ``most`` characters as possible, which are about equally long."""
    count = len(textwrap.wrap(line, most))
    widths = range(max(1, -(-len(line) // max(1, count))), most + 1)
    tries = (textwrap.wrap(line, width, break_long_words=width == most) for width in widths)
    return next((lines for lines in tries if len(lines) <= count), [line])


def _named(axis: Axis) -> bool:
    """Whether the ticks are at fixed places, with names."""
    named = isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)
    return named and isinstance(axis.get_major_locator(), FixedLocator)


def _fit_rows(axes: Axes) -> None:
    """Give the names of rows a part of the figure's width, and the height of a row."""
    if not _named(axes.yaxis) or not axes.yaxis.get_tick_params().get("labelleft", True):
        return
    labels = axes.get_yticklabels()
    places = [axes.transData.transform((0, place))[1] for place in axes.get_yticks()]
    figure = axes.get_figure(root=True) if hasattr(axes, "get_figure") else axes.figure
    if len(labels) != len(places) or figure is None or not labels:
        return
    pitch = min((abs(a - b) for a, b in pairwise(places)), default=axes.bbox.height)
    room = _NAMES * figure.bbox.width
    names = [label.get_text() for label in labels]
    heights = [label.get_window_extent().height for label in labels]
    lines = [max(1, name.count("\n") + 1) for name in names]
    line = max(h / n for h, n in zip(heights, lines, strict=True))
    size = labels[0].get_fontsize()
    if line > pitch:
        smaller = max(_SMALLEST_PT, float(size) * pitch / line)
        axes.tick_params(axis="y", labelsize=smaller)
        line *= smaller / float(size)
    step = max(1, -int(-line // max(pitch, 1.0)))
    most = max(1, int(step * pitch / line / _LEADING))
    fitted = [
        _in_box(label, name, room, most) if index % step == 0 else ""
        for index, (label, name) in enumerate(zip(labels, names, strict=True))
    ]
    if fitted != names:
        axes.set_yticks(axes.get_yticks(), fitted)


def _in_box(label: Text, name: str, room: float, lines: int) -> str:
    """``name`` on at most ``lines`` lines of ``room`` pixels."""
    if not name.strip():
        return name
    width = label.get_window_extent().width
    if width <= room and name.count("\n") < lines:
        return name
    longest = max(map(len, name.splitlines()))
    most = longest if width <= room else max(_SHORTEST, int(longest * room / width))
    whole = " ".join(name.split())
    wrapped = _broken(whole, most)
    if len(wrapped) > lines:
        wrapped = _broken(shorter(whole, most * lines), most, anywhere=True)
    return "\n".join(wrapped[:lines])


def _broken(name: str, most: int, anywhere: bool = False) -> list[str]:
    """``name`` in lines of at most ``most`` characters, broken behind spaces and punctuation, or
    ``anywhere``.

    >>> _broken("cell.programming_noise.state-dependent", 24)
    ['cell.programming_noise.', 'state-dependent']
    """
    if anywhere:
        return [name[start : start + most].strip() for start in range(0, len(name), most)]
    lines = [""]
    for part in re.findall(r"[^\s._,/=-]*[\s._,/=-]|[^\s._,/=-]+", name):
        if len((lines[-1] + part).rstrip()) <= most or not lines[-1]:
            lines[-1] += part
        else:
            lines.append(part)
    if max(map(len, lines)) > most + 1:
        return _broken(name, most, anywhere=True)
    return [line.strip() for line in lines]


def _thin_ticks(axes: Axes) -> None:
    """Turn long names of ticks, and leave out those that would touch the one before."""
    _fewer_numbers(axes)
    _clear_corner(axes)
    if not _named(axes.xaxis):
        return
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    if not _touching(labels):
        return
    names = [label.get_text() for label in axes.get_xticklabels()]
    turned = float(labels[0].get_rotation())
    if turned < 90 and len(labels) > 2 and max(map(len, names)) > _SHORTEST:
        angle = 30.0 if turned < 30 else 90.0
        for label in axes.get_xticklabels():
            label.set(rotation=angle, ha="right", rotation_mode="anchor")
            if angle == 90:
                label.set(va="center")
        return
    kept = {0, len(names) - 1}
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    for index in range(1, len(names) - 1):
        if not any(_touch(boxes[index], boxes[other]) for other in kept):
            kept.add(index)
    axes.set_xticks(axes.get_xticks(), [name if i in kept else "" for i, name in enumerate(names)])


def _clear_corner(axes: Axes) -> None:
    """Move the numbers of the x axis down if the first of them touches the lowest of the y axis."""
    columns, rows = _numbers_in_view(axes.xaxis), _numbers_in_view(axes.yaxis)
    boxes = [row.get_window_extent() for row in rows]
    if any(_touch(column.get_window_extent(), box) for column in columns for box in boxes):
        pad_pt = matplotlib.rcParams["xtick.major.pad"] + float(columns[0].get_fontsize())
        axes.tick_params(axis="x", pad=pad_pt)


def _numbers_in_view(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_text() and tick.label1.get_visible()]


def _fewer_numbers(axes: Axes) -> None:
    """Have fewer of the numbers that matplotlib chooses along an axis, if they touch."""
    sides: tuple[tuple[Literal["x", "y"], Axis], ...] = (("x", axes.xaxis), ("y", axes.yaxis))
    for name, axis in sides:
        if not isinstance(axis.get_major_locator(), MaxNLocator):
            continue
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        if _touching([tick.label1 for tick in ticks]):
            axes.locator_params(axis=name, nbins=max(1, len(ticks) - 2))


def _touching(texts: Sequence[Text]) -> bool:
    boxes = [text.get_window_extent() for text in texts]
    if texts and 0 < float(texts[0].get_rotation()) < 90:
        # Boxes of turned texts overlap although the texts do not.
        steps = [right.x1 - left.x1 for left, right in pairwise(boxes)]
        return min(steps, default=1e9) < 1.2 * float(texts[0].get_fontsize())
    return any(_touch(a, b) for a, b in pairwise(boxes))


def _touch(a: Bbox, b: Bbox) -> bool:
    return bool(
        min(a.x1, b.x1) - max(a.x0, b.x0) > _TOUCH and min(a.y1, b.y1) - max(a.y0, b.y0) > _TOUCH
    )


def _shrink_texts(axes: Axes) -> None:
    """Make the texts within the axes smaller until none covers another; then leave some out."""
    texts = [text for text in axes.texts if text.get_text().strip() and text.get_visible()]
    while list(_covered(texts)):
        sizes = [float(text.get_fontsize()) for text in texts]
        if min(sizes) * _SMALLER < _SMALLEST_PT:
            break
        for text, size in zip(texts, sizes, strict=True):
            text.set_fontsize(_SMALLER * size)
    for text in _covered(texts):
        text.set_visible(False)


def _covered(texts: Sequence[Text]) -> Iterator[Text]:
    """The texts that cover one before them that is kept."""
    kept: list[Bbox] = []
    for text in texts:
        box = text.get_window_extent()
        if any(_touch(box, other) for other in kept):
            yield text
        else:
            kept.append(box)
