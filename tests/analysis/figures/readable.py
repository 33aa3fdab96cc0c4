"""Checks that a person can read a figure: of the boxes of its texts, as matplotlib draws them."""

from __future__ import annotations

from itertools import combinations

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_SHARED = 2.0  # pixels that boxes may share; letters are smaller than their boxes


def require_readable(figure: Figure) -> None:
    """Assert that no text covers another, and none leaves the canvas."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    assert len(boxes) > 3
    for words, box in boxes:
        assert box.x0 >= -1, words
        assert box.y0 >= -1, words
        assert box.x1 <= figure.bbox.x1 + 1, words
        assert box.y1 <= figure.bbox.y1 + 1, words
    for (words, box), (others, other) in combinations(boxes, 2):
        assert not _cover(box, other), (words, others)


def _cover(a: Bbox, b: Bbox) -> bool:
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return wide > _SHARED and high > _SHARED


def texts_of(figure: Figure) -> list[Text]:
    """All texts that are drawn, turned ones excluded: their boxes are larger than they are."""
    texts = list(figure.texts)
    for legend in figure.legends:
        texts += legend.get_texts()
    for axes in figure.axes:
        texts += [axes.title, axes._left_title, *axes.texts]  # type: ignore[attr-defined]
        for axis in (axes.xaxis, axes.yaxis):
            texts += [axis.label, *_ticks(axis)]
        legend = axes.get_legend()
        texts += [] if legend is None else legend.get_texts()
    return [
        text
        for text in texts
        if text.get_visible() and text.get_text().strip() and text.get_rotation() in (0, 90)
    ]


def _ticks(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    return [
        label
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high
        for label in (tick.label1, tick.label2)
    ]
