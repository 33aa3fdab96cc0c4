"""Read cimsim's docstrings: equations are indented lines, keys of a profile are pydantic fields."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

from profile_keys import key_table

# A table in plain text, such as a list of files: words and, far behind, what they are.
_COLUMNS = re.compile(r"\S {3,}\S")
_SECTION = re.compile(r"^(Args|Arguments|Attributes|Raises|Returns|Yields|Note|Example)s?:$")


# A star in a shape, such as ``[N, *input_shape]``, begins no emphasis.
_STAR = re.compile(r"(?<=[\[,( ])\*(?=\w+[\],)])")


def literal_blocks(lines: list[str]) -> list[str]:
    """Mark blocks that are indented below a paragraph as literal, as in ``equation``.

    So are tables in plain text. Lines below ``Args:`` and the like belong to Napoleon.
    """
    lines = _indented_tables([_STAR.sub(r"\\*", line) for line in lines])
    out: list[str] = []
    section = False
    for index, line in enumerate(lines):
        indented = line.startswith("    ")
        before = lines[index - 1] if index else ""
        if line and not indented:
            section = bool(_SECTION.match(line))
        starts = indented and not before.strip() and not section
        previous = next((text for text in reversed(out) if text.strip()), "")
        if starts and not previous.endswith("::") and not previous.startswith("    "):
            out += ["::", ""]
        out.append(line)
    return out


def _indented_tables(lines: list[str]) -> list[str]:
    paragraphs = "\n".join(lines).split("\n\n")
    return "\n\n".join(
        textwrap.indent(text, "    ")
        if _COLUMNS.search(text) and not text.startswith((" ", ">>>"))
        else text
        for text in paragraphs
    ).split("\n")


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "attribute" and "Alias for field number" in "".join(lines[:1]):
        lines.clear()
    lines[:] = literal_blocks(lines)
    if inspect.isclass(obj) and issubclass(obj, BaseModel) and obj.__module__.startswith("cimsim"):
        lines += ["", *key_table(obj)]


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    if "Alias for field number" in (getattr(obj, "__doc__", None) or ""):
        return True
    return None


def _without_keys(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the constructor of a pydantic model: its keys are in the table."""
    return ("", "") if inspect.isclass(obj) and issubclass(obj, BaseModel) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks; Napoleon's has the default priority of 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-signature", _without_keys)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
