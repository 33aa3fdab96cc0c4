"""Windows of text: tiny-shakespeare by characters, WikiText-2 by words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.download import download
from cimsim.training.data.layout import Layout, read_bytes

WINDOW = 64
END_OF_LINE = "<eos>"
_TRAINING_SHARE = 0.9

_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def _fetch(missing: Sequence[str], folder: Path) -> None:
    download(_URL, _SHA256, folder / "input.txt")


# A. Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks", 2015.
TINY_SHAKESPEARE = Layout(
    name="tinyshakespeare",
    folders=("tinyshakespeare", "."),
    stems=("input",),
    suffixes=(".txt",),
    fetch=_fetch,
)


def read_tiny_shakespeare(data_dir: Path, download: bool) -> DataSet:
    """Read 1.1 million characters of Shakespeare's plays; the last tenth is the test text.

    Inputs are windows of 64 characters, int64 [N, 64] in ``0 .. classes-1`` (the 65 characters,
    sorted); labels are the windows shifted by one character.

    Raises:
        CimsimError: if the file is missing or cannot be read.
    """
    (path,) = TINY_SHAKESPEARE.locate(data_dir, download)
    return character_text("tinyshakespeare", read_bytes(path), str(path))


def _no_download(missing: Sequence[str], folder: Path) -> None:
    raise CimsimError(
        f"WikiText-2 no longer has an official download; copy {', '.join(missing)} (.txt) to "
        f"{folder}"
    )


# S. Merity, C. Xiong, J. Bradbury, R. Socher, "Pointer Sentinel Mixture Models", ICLR 2017.
WIKITEXT_2 = Layout(
    name="wikitext-2",
    folders=("wikitext-2", "."),
    stems=("train", "test"),
    suffixes=(".txt", ".tokens"),
    fetch=_no_download,
)


def read_wikitext_2(data_dir: Path, download: bool) -> DataSet:
    """Read 2.1 million words of Wikipedia for training, 0.25 million for the test.

    Words are those of the files (rare words are ``<unk>``), plus ``<eos>`` at the end of each line:
    33,278 for the published files, in order of first appearance. Inputs and labels are windows of
    64 words, as in :func:`read_tiny_shakespeare`.

    Raises:
        CimsimError: if a file is missing or cannot be read.
    """
    train, test = WIKITEXT_2.locate(data_dir, download)
    return word_text("wikitext-2", read_bytes(train), read_bytes(test), str(train.parent))


def word_text(name: str, train: bytes, test: bytes, where: str) -> DataSet:
    """Build the :class:`DataSet` of two texts of words; errors mention ``where``.

    Raises:
        CimsimError: if a text is not UTF-8, or too short for a window.
    """
    splits = [_words(_decoded(content, where)) for content in (train, test)]
    number: dict[str, int] = {}
    codes = [
        torch.tensor([number.setdefault(word, len(number)) for word in words]) for words in splits
    ]
    if min(map(len, codes)) <= WINDOW:
        raise CimsimError(f"{where}: every split must have more than {WINDOW} words")
    samples = (*_windows(codes[0]), *_windows(codes[1]))
    fingerprint = hashlib.sha256(train + b"\0" + test).hexdigest()
    return DataSet(name, *samples, len(number), fingerprint, token="word", symbols=tuple(number))


def _words(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in (*line.split(), END_OF_LINE)]


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CimsimError(f"{where} is not text in UTF-8: {error}") from None


def character_text(
    name: str, content: bytes, where: str, test: float = 1 - _TRAINING_SHARE
) -> DataSet:
    """Build the :class:`DataSet` of a text of characters; errors mention ``where``.

    The test text is the last part of the text, of the share ``test``.

    Raises:
        CimsimError: if the text is not UTF-8, or too short for a window in each split.
    """
    text = _decoded(content, where)
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    codes = torch.tensor([number[character] for character in text], dtype=torch.int64)
    cut = training_length(len(codes), test)
    shortest = WINDOW / min(test, 1 - test) + 20
    if min(cut, len(codes) - cut) <= WINDOW:
        raise CimsimError(f"{where} must have at least {shortest:.0f} characters, not {len(codes)}")
    train_x, train_y = _windows(codes[:cut])
    test_x, test_y = _windows(codes[cut:])
    fingerprint = hashlib.sha256(content).hexdigest()
    samples = (train_x, train_y, test_x, test_y)
    return DataSet(
        name, *samples, len(characters), fingerprint, token="character", symbols=tuple(characters)
    )


def training_length(length: int, test: float) -> int:
    """Return how many symbols of a text precede the test text.

    >>> training_length(1000, 0.1)
    900
    """
    return int((1 - test) * length)


def _windows(codes: Tensor) -> tuple[Tensor, Tensor]:
    count = (len(codes) - 1) // WINDOW
    x, y = codes[: count * WINDOW], codes[1 : count * WINDOW + 1]
    return x.view(count, WINDOW), y.view(count, WINDOW)
