"""Reading of fault maps from CSV files into the tree of a profile."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.folders import expanded
from cimsim.profile.issues import Issue
from cimsim.profile.yaml_scalars import parse_scalar
from cimsim.profile.yaml_tree import Node, Place
from cimsim.reading import read_bytes
from cimsim.suggest import shortened

COLUMNS = ("row", "column", "device", "g_uS")
_MOST_CELLS = 20_000
_LARGEST = 2_000_000


def with_fault_maps(root: Node, path: Path) -> tuple[Node, list[Issue]]:
    """Return ``root`` with the ``file`` of each fault map replaced by its ``cells``, and issues.

    The file is a CSV with the columns row, column, device and g_uS; relative paths are resolved
    against the folder of the profile ``path``.
    """
    issues: list[Issue] = []
    cell = _inner(root, "cell")
    entries = _inner(cell, "faults") if cell is not None else None
    if cell is None or entries is None or not isinstance(entries.value, list):
        return root, issues
    read = Node(
        [_with_cells(entry, path, issues) for entry in entries.value],
        entries.place,
        entries.key_place,
    )
    return _replaced(root, "cell", _replaced(cell, "faults", read)), issues


def _with_cells(entry: Node, path: Path, issues: list[Issue]) -> Node:
    file, kind = _inner(entry, "file"), _inner(entry, "kind")
    if file is None or kind is None or kind.value != "map" or not isinstance(entry.value, dict):
        return entry
    rest = {key: node for key, node in entry.value.items() if key != "file"}
    cells: list[Node] = []
    if "cells" in rest:
        issues.append(file.key_place.issue("set either 'file' or 'cells', not both"))
    elif not isinstance(file.value, str):
        issues.append(file.place.issue("must be the path of a CSV file"))
    else:
        try:
            cells = _read(path.parent / expanded(file.value), file.place, issues)
        except CimsimError as error:
            issues.append(file.place.issue(f"cannot read the fault map {error}"))
    rest.setdefault("cells", Node(list(cells), file.place, file.key_place))
    return Node(rest, entry.place, entry.key_place)


def _read(path: Path, named_at: Place, issues: list[Issue]) -> list[Node]:
    try:
        text = read_bytes(path, _LARGEST).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a CSV file"
        issues.append(named_at.issue(f"cannot read the fault map {path}: {reason}"))
        return []
    whole = Place(str(path), by=str(named_at))
    header = tuple(name.strip() for name in lines[0]) if lines else ()
    if header != COLUMNS:
        given = shortened(", ".join(header)) or "nothing"
        message = f"the first line must be {','.join(COLUMNS)} (found {given})"
        issues.append(whole.issue(message))
        return []
    if len(lines) - 1 > _MOST_CELLS:
        message = f"a fault map has at most {_MOST_CELLS} cells, not {len(lines) - 1}; "
        issues.append(whole.issue(message + "set a rate with 'kind: stuck' instead"))
        return []
    cells = []
    for number, line in enumerate(lines[1:], start=2):
        place = replace(whole, line=number)
        if not line:
            continue
        if len(line) != len(COLUMNS):
            issues.append(place.issue(f"must contain {len(COLUMNS)} values, not {len(line)}"))
            continue
        values = [Node(parse_scalar(text.strip()), place, place) for text in line]
        cells.append(Node(list(values), place, place))
    return cells


def _inner(node: Node, key: str) -> Node | None:
    return node.value.get(key) if isinstance(node.value, dict) else None


def _replaced(node: Node, key: str, value: Node) -> Node:
    assert isinstance(node.value, dict)
    return Node(node.value | {key: value}, node.place, node.key_place)
