"""In-memory data sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.data.held_out import (
    held_out_classes,
    held_out_numbers,
    held_out_tail,
    require_parts,
)
from cimsim.training.data_spec import Form
from cimsim.training.tasks import Classification, Regression, Task, Text

_MOST_ANSWERS = 1 << 24  # logits of one batch

Split = Literal["test", "held-out"]
"""The samples that a model is evaluated on."""
TEST: Split = "test"
HELD_OUT: Split = "held-out"

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """One split as stored in files: ``pixels`` uint8 [N, C, H, W], ``labels`` int64 [N]."""

    pixels: Pixels
    labels: Labels


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test inputs with labels.

    For text, inputs and labels are int64 [N, T]; see :mod:`cimsim.training.data.text`. For images,
    ``train_x`` and ``test_x`` are float32 [N, C, H, W], shifted and scaled per channel so that the
    *training* images have mean 0 and standard deviation 1 (test images use the same constants).
    ``train_y`` and ``test_y`` are int64 [N] in ``0 .. classes-1``. ``fingerprint`` is the SHA-256
    of the raw pixels and labels, independent of the file format. For text, ``token`` is the unit,
    ``character`` or ``word``, and ``symbols`` maps each number to its symbol.

    Vectors are float32 [N, F], shifted and scaled per feature. Numeric targets are float32 [N, K],
    ``(target - target_mean) / target_scale`` of the training data, and ``classes`` is K.
    ``labels`` are the names of the classes, if they have any; ``per_class`` adds the scores that
    treat classes equally (see :class:`cimsim.nn.tallies.ClassTally`).

    ``held_out_x`` and ``held_out_y`` are training samples that are not trained on, see
    :meth:`hold_out`; None if there are none.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    fingerprint: str
    token: str = ""
    symbols: tuple[str, ...] = ()
    target_mean: Tensor | None = None
    target_scale: Tensor | None = None
    labels: tuple[str, ...] = ()
    per_class: bool = False
    held_out_x: Tensor | None = None
    held_out_y: Tensor | None = None

    def hold_out(self, fraction: float, limit: int | None = None) -> DataSet:
        """Return the data with a fraction of the training samples in ``held_out_x`` and ``_y``.

        Settings can be chosen on these samples, so that the test samples remain unused until the
        end. The choice of samples depends only on the labels and the fraction, not on a seed:

        * classes: each class gives its share, sampled with a fixed seed;
        * numeric targets: sampled with a fixed seed;
        * text: the last windows of the training text, so that no held-out text was trained on.

        The inputs stay standardized by all training samples, held-out ones included.

        Args:
            fraction: fraction of the training samples, from 0 (none) to below 1.
            limit: number of training samples to use, the first ones; samples are held out of these.

        Raises:
            CimsimError: if the fraction is outside this range or leaves one of the parts empty, or
                samples have been held out before.

        >>> from cimsim.training.data import load_data
        >>> data = load_data("digits").hold_out(0.1)
        >>> len(data.train_x), len(data.held_out_x)
        (1293, 144)
        """
        if self.held_out_x is not None:
            raise CimsimError(f"'{self.name}' has held-out samples already; call hold_out once")
        if not 0 <= fraction < 1:
            raise CimsimError(f"hold_out must be a fraction from 0 to below 1, not {fraction!r}")
        if not fraction:
            return replace(self, train_x=self.train_x[:limit], train_y=self.train_y[:limit])
        x, y = self.train_x[:limit], self.train_y[:limit]
        if self.token:
            held = held_out_tail(len(y), fraction)
        elif self.target_scale is not None:
            held = held_out_numbers(len(y), fraction)
        else:
            held = held_out_classes(y, fraction)
        require_parts(self.name, fraction, held)
        parts: dict[str, Any] = {"train_x": x[~held], "train_y": y[~held]}
        return replace(self, **parts, held_out_x=x[held], held_out_y=y[held])

    def part(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return inputs and labels to evaluate on: ``test``, or ``held-out``.

        Raises:
            CimsimError: if there are no held-out samples.
        """
        if split == TEST:
            return self.test_x, self.test_y
        if self.held_out_x is None or self.held_out_y is None:
            raise CimsimError(f"'{self.name}' has no held-out samples; hold some out first")
        return self.held_out_x, self.held_out_y

    @property
    def task(self) -> Task:
        """What a model learns from these data."""
        if self.target_scale is not None:
            return Regression(self.target_scale)
        return Text() if self.token else Classification(self.per_class)

    @property
    def form(self) -> Form:
        """Form of the inputs."""
        if self.token:
            return "text"
        return "vectors" if len(self.input_shape) == 1 else "images"

    @property
    def batch_size(self) -> int | None:
        """Batch size in evaluation, limited by the memory of the logits; None if not limited."""
        if not self.token:
            return None
        answers = self.test_y[0].numel() * self.classes
        return max(1, min(1000, _MOST_ANSWERS // answers))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image, (features,), or (length,) of a window of text."""
        return tuple(self.train_x.shape[1:])


def normalized(name: str, train: Images, test: Images, classes: int) -> DataSet:
    """Build the :class:`DataSet` of two raw splits: ``x = (pixel - mean_c) / std_c`` per channel.

    Mean and standard deviation are computed from exact counts of the 256 gray levels of the
    training images, so that the result is bit-identical on every machine.

    Raises:
        CimsimError: if a split is empty, the splits differ in image size, a label is outside
            ``0 .. classes-1``, or all training pixels of a channel are equal.
    """
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise CimsimError(
            f"{name}: training images are {_size(train)} but test images are {_size(test)}; "
            "use files of the same data set"
        )
    for split, images in (("training", train), ("test", test)):
        if not len(images.pixels):
            raise CimsimError(f"{name}: the files contain no {split} images")
        _check_labels(f"{name}: {split} labels", images.labels, classes)
    train_x, test_x = normalized_pixels(name, train.pixels, test.pixels)
    return DataSet(
        name=name,
        train_x=train_x,
        train_y=torch.from_numpy(train.labels),
        test_x=test_x,
        test_y=torch.from_numpy(test.labels),
        classes=classes,
        fingerprint=fingerprint(train, test),
    )


def normalized_pixels(name: str, train: Pixels, test: Pixels) -> tuple[Tensor, Tensor]:
    """Return training and test pixels [N, C, H, W] as in :func:`normalized`, float32.

    Raises:
        CimsimError: if all training pixels of a channel are equal.
    """
    tables = [_level_table(name, c, train[:, c]) for c in range(train.shape[1])]
    return _look_up(tables, train), _look_up(tables, test)


def fingerprint(*splits: Images) -> str:
    """Return the SHA-256 (hex) over shape, pixels and labels of all splits."""
    digest = hashlib.sha256()
    for images in splits:
        digest.update(repr(images.pixels.shape).encode())
        digest.update(np.ascontiguousarray(images.pixels).data)
        digest.update(images.labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _size(images: Images) -> str:
    return "x".join(str(length) for length in images.pixels.shape[1:])


def _check_labels(what: str, labels: Labels, classes: int) -> None:
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise CimsimError(
            f"{what} must be 0 to {classes - 1}, got {outside[0]} ({outside.size} such labels)"
        )


def _level_table(name: str, channel: int, pixels: Pixels) -> NDArray[np.float32]:
    """The normalized value of each gray level 0..255."""
    counts = np.bincount(pixels.reshape(-1), minlength=256).astype(np.float64)
    levels = np.arange(256, dtype=np.float64)
    mean = counts @ levels / counts.sum()
    variance = counts @ (levels - mean) ** 2 / counts.sum()
    if variance == 0:
        raise CimsimError(f"{name}: all training pixels of channel {channel} are {pixels.flat[0]}")
    table: NDArray[np.float64] = (levels - mean) / np.sqrt(variance)
    return table.astype(np.float32)


def _look_up(tables: list[NDArray[np.float32]], pixels: Pixels) -> Tensor:
    out = np.empty(pixels.shape, dtype=np.float32)
    for channel, table in enumerate(tables):
        np.take(table, pixels[:, channel], out=out[:, channel])
    return torch.from_numpy(out)
