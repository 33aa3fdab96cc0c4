"""YAML text as a tree in which every value knows its place in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from cimsim.profile.faults import Fault
from cimsim.profile.scalars import Scalar, parse_scalar

_DEEPEST = 20
_UNSUPPORTED = "anchors, aliases and tags are not supported; write the value out, or use 'extends'"


@dataclass(frozen=True)
class Place:
    """A position in a file; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def fault(self, message: str, path: str = "") -> Fault:
        """A fault at this place."""
        return Fault(self.file, self.line, self.column, path, message)


@dataclass(frozen=True)
class Node:
    """A value, where it stands, and where its key stands (at itself where it has none)."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    key_place: Place

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(text: str, file: str) -> tuple[Node | None, list[Fault]]:
    """The tree of a YAML text and what is wrong with its form; no tree if it cannot be read."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        return None, [_place(file, error.problem_mark).fault(_syntax(error))]
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return None, [place.fault("not a text file: it holds characters that YAML forbids")]
    if root is None:
        return None, [Place(file).fault("there is nothing in it")]
    faults: list[Fault] = []
    return _tree(root, _place(file, root.start_mark), faults), faults


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses what could make a small file large or build objects."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
            raise yaml.MarkedYAMLError(problem=_UNSUPPORTED, problem_mark=event.start_mark)
        if self._depth == _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _tree(node: yaml.Node, key_place: Place, faults: list[Fault]) -> Node:
    place = _place(key_place.file, node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return Node(_mapping(node, place.file, faults), place, key_place)
    if isinstance(node, yaml.SequenceNode):
        places = [_place(place.file, item.start_mark) for item in node.value]
        items = [_tree(item, at, faults) for item, at in zip(node.value, places, strict=True)]
        return Node(items, place, key_place)
    quoted = isinstance(node, yaml.ScalarNode) and node.style
    return Node(node.value if quoted else parse_scalar(node.value), place, key_place)


def _mapping(node: yaml.MappingNode, file: str, faults: list[Fault]) -> dict[str, Node]:
    mapping: dict[str, Node] = {}
    for key, value in node.value:
        place = _place(file, key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            faults.append(place.fault("a key must be one word"))
        elif key.value in mapping:
            first = mapping[key.value].key_place.line
            faults.append(place.fault(f"duplicate key '{key.value}' (first on line {first})"))
        else:
            mapping[key.value] = _tree(value, place, faults)
    return mapping


def _place(file: str, mark: yaml.Mark | None) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if "'\\t'" in problem:
        return "a tab cannot indent or begin a value in YAML; use spaces"
    return f"{error.context}, {problem}" if error.context else problem
