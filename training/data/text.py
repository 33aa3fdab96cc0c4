"""Text, character by character: tiny-shakespeare in windows."""

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
    """1.1 million characters of Shakespeare's plays; the last tenth is the test text.

    Inputs are windows of 64 characters, int64 [N, 64] in ``0 .. classes-1`` (the 65 characters in
    their order), labels the same one character later.

    Raises:
        CimsimError: the file is missing or cannot be read.
    """
    (path,) = TINY_SHAKESPEARE.locate(data_dir, download)
    return character_text("tinyshakespeare", read_bytes(path), str(path))


def character_text(name: str, content: bytes, where: str) -> DataSet:
    """The :class:`DataSet` of a text of one's own; ``where`` is named in errors.

    Raises:
        CimsimError: the text is no UTF-8, or too short for a window in each split.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CimsimError(f"{where} is not text in UTF-8: {error}") from None
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    codes = torch.tensor([number[character] for character in text], dtype=torch.int64)
    cut = int(_TRAINING_SHARE * len(codes))
    if len(codes) - cut <= WINDOW:
        raise CimsimError(
            f"{where} has {len(codes)} characters; at least {10 * WINDOW + 20} are wanted"
        )
    train_x, train_y = _windows(codes[:cut])
    test_x, test_y = _windows(codes[cut:])
    fingerprint = hashlib.sha256(content).hexdigest()
    samples = (train_x, train_y, test_x, test_y)
    return DataSet(
        name, *samples, len(characters), fingerprint, token="character", symbols=tuple(characters)
    )


def _windows(codes: Tensor) -> tuple[Tensor, Tensor]:
    count = (len(codes) - 1) // WINDOW
    x, y = codes[: count * WINDOW], codes[1 : count * WINDOW + 1]
    return x.view(count, WINDOW), y.view(count, WINDOW)
