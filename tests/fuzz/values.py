"""Odd values of every kind, and trees of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, TypeAlias

Tree: TypeAlias = Any
"""What YAML and JSON hold: mappings, lists, texts, numbers, `Raw` words."""

Place: TypeAlias = tuple[int | str, ...]


class Raw(str):
    """A word that is written as it is, whatever it means."""


NUMBERS = (
    0, -0.0, 1, -1, 2, 3, 16, 17, 0.5, 1e-3, 1e3, 1e6, 1e9, 1e12, 1e18, 1e30, 1e38, 3.4e38, 3.5e38,
    1e39, 1e100, 1e154, 1e200, 1e300, 1.7e308, 1e-6, 1e-12, 1e-30, 1e-38, 1e-39, 1e-45, 1e-46,
    1e-150, 1e-300, 5e-324, -1e-6, -1e6, -1e38, -1e300, -273.15, -273.0, 2**31, 2**53 + 1, 10**17,
    2**63 - 1, 2**63, 2**64, 10**40,
)  # fmt: skip
RAW_NUMBERS = (
    ".nan", ".NaN", ".inf", "-.inf", "nan", "inf", "Infinity", "1e999", "-1e999", "1e-999", "0x1F",
    "0o17", "1_000", "12:30:00", "010", "+5", "1.", ".5", "1e5", "5%", "25 uS", "25e-6 S", "1,5",
    "1" * 400, "0." + "1" * 5000, "1e" + "9" * 50, "-", "--1", "0b11", "1j",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "no", "null", "~", "true", "[/red]", "[bold]x", "[link=file:///etc/passwd]x",
    "$x_1$", "$\\frac{", "a$b", "\\", "_hidden", "a\nb", "a\r\nb", "a\tb", "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07", "\x9b31m", "\x00", "\x7f", "\u202eabc", "\u2066abc", "\u200b", "\ufeff",
    "\ufffe", "\ud800", "\udcff", "\U0010ffff", "e\u0301", "\u0130", "ﬀ", "日本語", "🙂", "مرحبا",
    "a" * 1000, "a" * 20_000, "=1+1", "+1", "-1", "@x", "=cmd|' /C calc'!A0", "--help", "-", "..",
    "../../etc/passwd", "/dev/zero", "/dev/stdin", "~nosuchuser/x.yaml", "~", "C:\\x", "a/b", "a.b",
    "{}", "{0}", "{x}", "%s", "%(x)s", "<script>alert(1)</script>", "&amp;", "'", '"', "'; rm -rf",
    "`x`", "$(x)", "nan", "inf", "1e999", "0", "1", "1.5", "None", "ideal", "self", "__class__",
)  # fmt: skip
YAML_FEATURES = (
    "&a [1, 2]", "*a", "!!python/object/apply:os.getcwd []", "!!binary aGk=", "!!float 1",
    "!!set {a, b}", "!x y", "{<<: {a: 1}}", "<<", "? [a, b]", "|\n  text", ">-\n  text",
    "2001-01-01", "2001-12-14t21:59:43.10-05:00", "=", '"\\UFFFFFFFF"', '"\\U00110000"',
    '"\\ud800"', '"\\xZZ"', '"\\q"', "'", '"', "[", "]", "{", "}", "[[[[", ",", ": :", "- - -",
    "%YAML 1.1", "---", "...", "--- x", "#x", "@x", "`x`", "\t", "\x00", "\x1b[31m", "\x85",
    "\u2028", "{a: 1, a: 2}", "[" * 50 + "]" * 50, "&a {x: *a}", "[*a, *a]", "\ufeff",
)  # fmt: skip


def number(rng: random.Random) -> Tree:
    """A number that is at the edge of something."""
    if rng.random() < 0.3:
        return Raw(rng.choice(RAW_NUMBERS))
    return rng.choice(NUMBERS)


def text(rng: random.Random) -> str:
    """A text that is more than letters."""
    if rng.random() < 0.2:
        length = rng.choice((1, 3, 30))
        return "".join(
            chr(rng.choice((rng.randrange(0x110000), rng.randrange(0x300)))) for _ in range(length)
        )
    return rng.choice(TEXTS)


def anything(rng: random.Random, depth: int = 0) -> Tree:
    """A value of any type."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return number(rng)
    if kind == 2:
        return text(rng)
    if kind == 3:
        return rng.choice((None, True, False))
    if kind == 4:
        return Raw(rng.choice(YAML_FEATURES))
    if kind == 5:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {text(rng): anything(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice(([], {}, [[]], [None], {"kind": "x"}, {"": None}, [1] * 1000))


def scaled(rng: random.Random, value: float) -> float:
    """A number near ``value`` or many powers of ten away."""
    factor = rng.choice((0, -1, 0.5, 2, 10, 1e-3, 1e3, 1e6, 1e-6, 1e12, 1e-12, 1e20, 1e-20, 1e37))
    return value * factor


def places(tree: Tree, here: Place = ()) -> Iterator[Place]:
    """Where every value of ``tree`` is, itself first."""
    yield here
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from places(value, (*here, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from places(value, (*here, index))


def at(tree: Tree, place: Place) -> Tree:
    """The value at ``place``."""
    for part in place:
        tree = tree[part]
    return tree


def mutate(rng: random.Random, tree: Tree, pool: list[Tree]) -> Tree:
    """Change one place of ``tree``, which is not kept; ``pool`` holds parts of other trees."""
    everywhere = [place for place in places(tree) if place]
    if not everywhere:
        return anything(rng)
    place = rng.choice(everywhere)
    parent, key = at(tree, place[:-1]), place[-1]
    value = parent[key]
    how = rng.randrange(12)
    if how < 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = scaled(rng, value) if rng.random() < 0.5 else number(rng)
    elif how < 4 and isinstance(value, str):
        parent[key] = text(rng)
    elif how == 4:
        parent[key] = anything(rng)
    elif how == 5:
        del parent[key]
    elif how == 6 and isinstance(parent, dict):
        new = text(rng) if rng.random() < 0.5 else str(key)[::-1] + rng.choice(("", "_S", "_mV"))
        parent[new] = parent.pop(key)
    elif how == 7 and isinstance(parent, dict):
        parent[text(rng)] = anything(rng)
    elif how == 8 and isinstance(value, list) and value:
        value.extend([rng.choice(value)] * rng.choice((1, 2, 50)))
    elif how == 9 and isinstance(value, list):
        rng.shuffle(value)
    elif how == 10:
        parent[key] = json.loads(json.dumps(rng.choice(pool))) if pool else anything(rng)
    else:
        other = rng.choice(everywhere)
        parent[key] = json.loads(written(at(tree, other), strict=True))
    return tree


def written(tree: Tree, strict: bool = False) -> str:
    """``tree`` as JSON, which YAML holds; `Raw` words as they are unless it must be ``strict``."""
    if isinstance(tree, Raw):
        return json.dumps(str(tree)) if strict else str(tree)
    if isinstance(tree, dict):
        pairs = (f"{json.dumps(str(k))}: {written(v, strict)}" for k, v in tree.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(written(value, strict) for value in tree) + "]"
    return json.dumps(tree)


def damage(rng: random.Random, content: bytes) -> bytes:
    """``content`` as a disk, an editor or a transfer may leave it."""
    if not content:
        return rng.randbytes(rng.randrange(20))
    how, at_ = rng.randrange(9), rng.randrange(len(content))
    if how < 3:
        return content[:at_] + bytes([content[at_] ^ (1 << rng.randrange(8))]) + content[at_ + 1 :]
    if how == 3:
        return content[:at_]
    if how == 4:
        return content[:at_] + rng.randbytes(rng.choice((1, 8, 200))) + content[at_ + 1 :]
    if how == 5:
        return content[:at_] + content[at_ + rng.choice((1, 10, 100)) :]
    if how == 6:
        return content.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\x00", b"\n\n", b"\x85")))
    if how == 7:
        return content.decode("utf-8", "replace").encode(
            rng.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "cp037")), "replace"
        )
    return content * rng.choice((2, 3))
