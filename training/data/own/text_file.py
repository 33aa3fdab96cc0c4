"""A text file, learned symbol by symbol."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.reader import Reader, Share, content_of
from cimsim.training.data.text import character_text, training_length, word_text


class TextFile(Reader):
    """``.txt`` in UTF-8, learned by characters or words (``unit``).

    The last part of the text, of the share ``test``, is the test text.
    """

    name: ClassVar[str] = "text"

    def __init__(self, unit: Literal["character", "word"] = "character", test: Share = 0.1) -> None:
        self.unit, self.test = unit, test

    def read(self, path: Path) -> DataSet:
        """See :class:`Reader`."""
        content = content_of(path)
        if not content.strip():
            raise CimsimError(f"{path} is empty")
        if self.unit == "character":
            return character_text(path.stem, content, str(path), self.test)
        lines = content.splitlines(keepends=True)
        cut = training_length(len(lines), self.test)
        return word_text(path.stem, b"".join(lines[:cut]), b"".join(lines[cut:]), str(path))
