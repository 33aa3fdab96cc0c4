"""Reading of a profile and of the profiles that it extends into one tree."""

from __future__ import annotations

import os
from pathlib import Path

from cimsim.profile.fault_map import with_fault_maps
from cimsim.profile.issues import Issue
from cimsim.profile.library import find_profile
from cimsim.profile.yaml_tree import Node, Place, parse
from cimsim.reading import read_bytes

_LARGEST = 1_000_000
_DEEPEST = 20


def read_tree(path: Path, extended_by: tuple[Path, ...] = ()) -> tuple[Node | None, list[Issue]]:
    """Return the tree of a profile merged over the profiles that it extends, and all issues.

    The tree is None if a file cannot be read. Mappings merge key by key; lists, single values and
    mappings of another ``kind`` replace the inherited value. ``name`` and the source of a replaced
    number are not inherited.
    """
    return _read(path, None, extended_by)


def _read(
    path: Path, named_at: Place | None, extended_by: tuple[Path, ...]
) -> tuple[Node | None, list[Issue]]:
    """Read one file; ``named_at`` is the place of the ``extends`` key that names it, if any."""
    by = "" if named_at is None else str(named_at)
    file = str(path)
    try:
        text = _read_text(path)
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = Place(file, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), by)
        return None, [place.issue("not a text file in UTF-8")]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if named_at is None:
            return None, [Issue(file, 0, 0, "", f"cannot read the profile: {reason}")]
        return None, [named_at.issue(f"{file}: cannot read the profile: {reason}", "extends")]
    root, issues = parse(text, file, by)
    if root is None:
        return None, issues
    if not isinstance(root.value, dict):
        return None, [*issues, root.place.issue("a profile must consist of 'key: value' pairs")]
    root, map_faults = with_fault_maps(root, path)
    issues += map_faults
    assert isinstance(root.value, dict)
    if "extends" not in root.value:
        return root, issues
    base, base_faults = _read_base(root.value["extends"], path, (*extended_by, path))
    return base and merge(base, _without("extends", root)), issues + base_faults


def _read_base(
    extends: Node, path: Path, extended_by: tuple[Path, ...]
) -> tuple[Node | None, list[Issue]]:
    if not isinstance(extends.value, str):
        return None, [extends.place.issue("must be the name or file of a profile", "extends")]
    try:
        base_path = find_profile(extends.value, beside=path.parent)
        is_cycle = os.path.realpath(base_path) in map(os.path.realpath, extended_by)
    except ValueError as error:  # an unknown name or an invalid path
        return None, [extends.place.issue(str(error), "extends")]
    if is_cycle:
        chain = " -> ".join(other.name for other in (*extended_by, base_path))
        return None, [extends.place.issue(f"a profile cannot extend itself: {chain}", "extends")]
    if len(extended_by) > _DEEPEST:
        message = f"at most {_DEEPEST} profiles may extend each other; merge some of them"
        return None, [extends.place.issue(message, "extends")]
    base, issues = _read(base_path, extends.place, extended_by)
    return base and _without("name", base), issues


def merge(base: Node, own: Node) -> Node:
    """Merge ``own`` over ``base``."""
    if not (isinstance(base.value, dict) and isinstance(own.value, dict)):
        return own
    kinds = {section["kind"].value for section in (base.value, own.value) if "kind" in section}
    if len(kinds) > 1:
        return own
    merged = dict(base.value)
    for key, node in own.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    old, new = _sources(base.value), _sources(own.value)
    if old and (new or old.keys() & own.value.keys()):
        # Split into one source per number, so that a replaced number does not keep the old source.
        kept = {key: node for key, node in old.items() if key not in own.value}
        stated = own.value.get("source", own)
        merged["source"] = Node(kept | new, stated.place, stated.key_place)
    return Node(merged, own.place, own.key_place)


def _sources(section: dict[str, Node]) -> dict[str, Node]:
    """Return the source of each number of a section."""
    source = section.get("source")
    if source is None:
        return {}
    if isinstance(source.value, dict):
        return source.value
    return {key: source for key, node in section.items() if _is_number(node)}


def _without(key: str, section: Node) -> Node:
    assert isinstance(section.value, dict)
    rest = {name: node for name, node in section.value.items() if name != key}
    return Node(rest, section.place, section.key_place)


def _is_number(node: Node) -> bool:
    if isinstance(node.value, dict):
        return "source" not in node.value and all(map(_is_number, node.value.values()))
    if isinstance(node.value, list):
        return bool(node.value) and all(map(_is_number, node.value))
    return isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _read_text(path: Path) -> str:
    return read_bytes(path, _LARGEST).decode("utf-8-sig")
