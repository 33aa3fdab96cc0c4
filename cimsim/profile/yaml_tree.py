"""YAML text as a tree that stores the position of every value in its file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import yaml

from cimsim.profile.issues import Issue
from cimsim.profile.yaml_scalars import Scalar, parse_scalar
from cimsim.suggest import shortened

_DEEPEST = 20
# The parser reads about 30,000 values per second. An inline fault map may have 20,000 cells.
_MOST_VALUES = 110_000
_MOST_KEYS = 5_000
_UNSUPPORTED = "anchors, aliases and tags are not supported; repeat the value, or use 'extends'"


@dataclass(frozen=True)
class Place:
    """A position in a file; lines and columns count from 1.

    ``by`` is the place in another file that names this one, empty for the first file.
    """

    file: str
    line: int = 1
    column: int = 1
    by: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def issue(self, message: str, path: str = "") -> Issue:
        """Return an issue at this place."""
        return Issue(self.file, self.line, self.column, path, message, self.by)


@dataclass(frozen=True)
class Node:
    """A value with its place and the place of its key (its own place if it has no key)."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    key_place: Place

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(text: str, file: str, by: str = "") -> tuple[Node | None, list[Issue]]:
    """Return the tree of a YAML text and its syntax issues; None if the text cannot be parsed.

    ``file`` and ``by`` are stored in its places; see :class:`Place`.
    """
    start = Place(file, by=by)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        return None, [_place(start, error.problem_mark).issue(_syntax(error))]
    except (ValueError, OverflowError):  # a \U escape of a code point that does not exist
        mark = loader.get_mark()
        return None, [_place(start, mark).issue("invalid escape sequence: no such character")]
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"), by)
        return None, [place.issue("not a text file: it contains characters that YAML forbids")]
    if root is None:
        return None, [start.issue("the file is empty")]
    issues: list[Issue] = []
    return _tree(root, _place(start, root.start_mark), issues), issues


class _Loader(yaml.SafeLoader):
    """Composes nodes only; rejects aliases and tags, which could expand a file or build objects."""

    _depth = 0
    _values = 0
    _values_of_keys = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
            raise yaml.MarkedYAMLError(problem=_UNSUPPORTED, problem_mark=event.start_mark)
        if self._depth == _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self._values += 1
        self._values_of_keys += isinstance(parent, yaml.MappingNode)  # keys and their values
        if self._values > _MOST_VALUES or self._values_of_keys > 2 * _MOST_KEYS:
            problem = "too many keys or values for a profile"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _tree(node: yaml.Node, key_place: Place, issues: list[Issue]) -> Node:
    place = _place(key_place, node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return Node(_mapping(node, place, issues), place, key_place)
    if isinstance(node, yaml.SequenceNode):
        places = [_place(place, item.start_mark) for item in node.value]
        items = [_tree(item, at, issues) for item, at in zip(node.value, places, strict=True)]
        return Node(items, place, key_place)
    word = _whole_characters(node.value, place, issues)
    quoted = isinstance(node, yaml.ScalarNode) and node.style
    return Node(word if quoted else parse_scalar(word), place, key_place)


def _whole_characters(word: str, place: Place, issues: list[Issue]) -> str:
    """Return ``word`` with surrogate pairs, as JSON escapes them, joined."""
    try:
        return word.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        issues.append(place.issue("contains half of a character (an unpaired \\ud800 to \\udfff)"))
        return ascii(word)[1:-1]


def _mapping(node: yaml.MappingNode, here: Place, issues: list[Issue]) -> dict[str, Node]:
    mapping: dict[str, Node] = {}
    for key, value in node.value:
        place = _place(here, key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            issues.append(place.issue("a key must be a scalar"))
            continue
        name = _whole_characters(key.value, place, issues)
        if name in mapping:
            first = mapping[name].key_place.line
            known = shortened(name)
            issues.append(place.issue(f"duplicate key '{known}' (first on line {first})"))
        else:
            mapping[name] = _tree(value, place, issues)
    return mapping


def _place(here: Place, mark: yaml.Mark | None) -> Place:
    """Return the place of ``mark`` in the file of ``here``."""
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return replace(here, line=line, column=column)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if "'\\t'" in problem:
        return "a tab cannot indent or start a value in YAML; use spaces"
    return f"{error.context}, {problem}" if error.context else problem
