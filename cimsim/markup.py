"""HTML fragments for notebooks and reports; all text is escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    right: Collection[int] = (),
) -> str:
    """Return a table whose first column contains row headings; align columns ``right``.

    >>> table(["layer", "cells"], [["<0>", "64"]])
    '<table><thead><tr><th scope="col">layer</th><th scope="col">cells</th></tr></thead>\
<tbody><tr><th scope="row">&lt;0&gt;</th><td>64</td></tr></tbody></table>'
    """
    styles = [' style="text-align:right"' if i in right else "" for i in range(len(headings))]

    def line(cells: Sequence[str], head: bool) -> str:
        parts = []
        for i, (cell, style) in enumerate(zip(cells, styles, strict=True)):
            scope = "col" if head else "row"
            named = bool(cell) if head else i == 0  # an empty heading is none
            tag, attribute = ("th", f' scope="{scope}"') if named else ("td", "")
            parts.append(f"<{tag}{attribute}{style}>{escape(cell)}</{tag}>")
        return f"<tr>{''.join(parts)}</tr>"

    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, head=False) for row in rows)
    return f"<table>{title}<thead>{line(headings, head=True)}</thead><tbody>{body}</tbody></table>"


def folded(summary: str, content: str) -> str:
    """Return a collapsible section; ``content`` is HTML."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def sparkline(values: Sequence[float], label: str) -> str:
    """Return a small line chart of text height; ``label`` is its text alternative."""
    low, high = min(values), max(values)
    points = " ".join(
        f"{120 * i / max(len(values) - 1, 1):.1f},"
        f"{22 - 20 * (value - low) / ((high - low) or 1):.1f}"
        for i, value in enumerate(values)
    )
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 120 24" width="120" '
        f'height="24"><polyline points="{points}" fill="none" stroke="currentColor" '
        'stroke-width="1.5"/></svg>'
    )
