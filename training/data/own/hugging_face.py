"""Data sets that the library ``datasets`` saved with ``save_to_disk``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.suggest import unknown
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.image_folder import Color, Picture, Size, picture_of
from cimsim.training.data.own.reader import Reader, Seed, Share, TaskName
from cimsim.training.data.own.samples import Samples, data_set
from cimsim.training.data.text import character_text, word_text

MARKS = ("dataset_dict.json", "dataset_info.json", "state.json")
"""Files by which such a folder is recognized."""

_LABELS = ("label", "labels", "target", "y")
_TESTS = ("test", "validation")


class HuggingFaceFolder(Reader):
    """A folder written by ``save_to_disk`` of the library ``datasets``.

    ``x`` names the columns of inputs: one of images, one of lists of numbers, or several of
    numbers; ``y`` the column to predict. By default they are the column of images, or all columns
    of numbers, and the column called ``label``. ``text`` names a column of text to learn instead,
    by characters or words (``unit``).
    """

    name: ClassVar[str] = "hugging-face"

    def __init__(
        self,
        x: tuple[str, ...] = (),
        y: str | None = None,
        text: str | None = None,
        unit: Literal["character", "word"] = "word",
        size: Size | None = None,
        color: Color | None = None,
        test: Share = 0.2,
        seed: Seed = 0,
        task: TaskName | None = None,
    ) -> None:
        self.x, self.y, self.text, self.unit = x, y, text, unit
        self.size, self.color = size, color
        self.test, self.seed, self.task = test, seed, task

    def read(self, path: Path) -> DataSet:
        """See :class:`Reader`."""
        if find_spec("datasets") is None:
            raise CimsimError(
                f"{path} is a Hugging Face data set, which needs the library datasets; install it "
                "with pip install datasets"
            )
        try:
            train, test = _parts(path)
            if self.text is not None:
                return self._text(path, train, test)
            return data_set(
                path.resolve().name,
                self._samples(train),
                None if test is None else self._samples(test),
                task=self.task,
                share=self.test,
                seed=self.seed,
            )
        except CimsimError as error:
            raise CimsimError(f"{path}: {error}") from None

    def _samples(self, rows: Any) -> Samples:
        from datasets import Image

        names = list(rows.column_names)
        label = self.y or next((name for name in _LABELS if name in names), None)
        if label is None:
            raise CimsimError(f"no column is called label; name it, as :y={names[-1]}")
        images = [name for name in names if isinstance(rows.features[name], Image)]
        others = [name for name in names if name != label and _is_numeric(rows.features[name])]
        inputs = list(self.x) or images[:1] or others
        for name in (*inputs, label):
            if name not in names:
                raise CimsimError(unknown("column", name, names))
        if not inputs:
            raise CimsimError(f"no column has images or numbers; name one, as :x={names[0]}")
        y = np.asarray(rows[label][:])
        if inputs[0] in images:
            return Samples(self._pictures(rows[inputs[0]]), y)
        columns = [_array(rows[name][:], name) for name in inputs]
        if len(columns) == 1 and columns[0].ndim > 1:
            return Samples(columns[0], y)
        return Samples(np.stack(columns, axis=1), y)

    def _pictures(self, images: Any) -> Picture:
        pictures = [picture_of(image, self.size, self.color) for image in images]
        if len({picture.shape for picture in pictures}) > 1:
            raise CimsimError("the images have different sizes; resize them, as with :size=32")
        if len({picture.dtype for picture in pictures}) > 1:
            raise CimsimError(
                "some images have 8 bits for each level, and others have more; save all images "
                "with the same number of bits"
            )
        return np.stack(pictures)

    def _text(self, path: Path, train: Any, test: Any) -> DataSet:
        for rows in (train, test):
            if rows is not None and self.text not in rows.column_names:
                raise CimsimError(unknown("column", str(self.text), rows.column_names))
        if test is None:
            parts = train.train_test_split(test_size=self.test, seed=self.seed)
            train, test = parts["train"], parts["test"]
        joined = ["\n".join(map(str, rows[self.text][:])) for rows in (train, test)]
        name, where = path.resolve().name, str(path)
        if self.unit == "word":
            return word_text(name, joined[0].encode(), joined[1].encode(), where)
        share = len(joined[1]) / max(len(joined[0]) + len(joined[1]), 1)
        return character_text(name, "".join(joined).encode(), where, share)


def _parts(path: Path) -> tuple[Any, Any]:
    """The rows to train on, and those to test on or None."""
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except Exception as error:  # the library raises many kinds of exceptions
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CimsimError(f"it cannot be read as a Hugging Face data set: {reason}") from None
    if not isinstance(saved, DatasetDict):
        return saved, None
    if "train" not in saved:
        raise CimsimError(f"it has no part 'train', but {', '.join(saved)}")
    return saved["train"], next((saved[name] for name in _TESTS if name in saved), None)


def _is_numeric(feature: Any) -> bool:
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return _is_numeric(inner)
    kind = str(getattr(feature, "dtype", ""))
    return kind.startswith(("int", "uint", "float", "bool"))


def _array(values: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "buif":
        raise CimsimError(f"the column '{name}' is not numbers, or its rows differ in length")
    return array
