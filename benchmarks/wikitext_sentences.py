"""Sentences of WikiText-2, and pairs of them from the same paragraph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

SHORTEST, LONGEST = 8, 20
_JOINED = {" @-@ ": "-", " @,@ ": ",", " @.@ ": ".", " ,": ",", " 's": "'s", "( ": "(", " )": ")"}


def paragraphs(path: Path) -> Iterator[list[str]]:
    """Yield the sentences of each paragraph that have 8 to 20 words and no ``<unk>``."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("="):  # a heading
            continue
        sentences = [sentence.split() for sentence in line.strip().removesuffix(" .").split(" . ")]
        chosen = [words for words in sentences if SHORTEST <= len(words) <= LONGEST]
        texts = [_joined(words) for words in chosen if "<unk>" not in words]
        if texts:
            yield texts


def pairs(paths: Sequence[Path], count: int) -> list[tuple[str, str]]:
    """Return the first two sentences of each of the first ``count`` paragraphs that have two."""
    texts = [text for path in paths for text in paragraphs(path) if len(text) > 1]
    if len(texts) < count:
        raise SystemExit(f"only {len(texts)} paragraphs have two sentences; choose fewer sentences")
    return [(text[0], text[1]) for text in texts[:count]]


def _joined(words: list[str]) -> str:
    text = " ".join(words)
    for apart, together in _JOINED.items():
        text = text.replace(apart, together)
    return f"{text}."
