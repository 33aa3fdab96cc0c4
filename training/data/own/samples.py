"""From arrays of inputs and labels to a :class:`DataSet`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cimsim import seeds
from cimsim.errors import CimsimError
from cimsim.training.data.dataset import DataSet, Images, fingerprint
from cimsim.training.data.own.inputs import standardized
from cimsim.training.data.own.labels import Labels, classes_of, numbers_of, task_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Inputs ``x`` [N, ...] and labels ``y`` [N] or [N, K], as they are in files."""

    x: Array
    y: Array

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise CimsimError(f"there are {len(self.x)} inputs, but {len(self.y)} labels")

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples of these numbers, in this order."""
        return Samples(self.x[rows], self.y[rows])


def data_set(
    name: str,
    train: Samples,
    test: Samples | None,
    *,
    task: str | None = None,
    share: float = 0.2,
    seed: int = 0,
) -> DataSet:
    """Build the data set of training and test samples, normalized by the training samples.

    Args:
        name: name of the data.
        train: training samples; all samples if ``test`` is None.
        test: test samples, or None to take some of ``train``.
        task: classification or regression; by default decided from the labels.
        share: share of the samples to test on, taken from each class.
        seed: seed of that choice, and of the order of samples that are sorted by label.

    Raises:
        CimsimError: if there are no samples, or they cannot be learned from.
    """
    for part, samples in (("training", train), ("test", test)):
        if samples is not None and not len(samples.x):
            raise CimsimError(f"there are no {part} samples")
    task = task_of(train.y, task)
    if test is None:
        labels = _labels(task, train, train)
        train, test = _split(train, labels, share, seed)
    train, test = (_mixed(samples, seed) for samples in (train, test))
    encoded = _labels(task, train, test)
    train_x, test_x = standardized(train.x, test.x)
    first, second = train_x.pixels, test_x.pixels
    if task == "classification" and first is not None and second is not None:
        # The same as that of a shipped data set with these images.
        hashed = fingerprint(Images(first, encoded.train), Images(second, encoded.test))
    else:
        hashed = _fingerprint(train.x, encoded.train, test.x, encoded.test)
    mean, scale = encoded.mean, encoded.scale
    return DataSet(
        name=name,
        train_x=train_x.x,
        train_y=torch.from_numpy(encoded.train),
        test_x=test_x.x,
        test_y=torch.from_numpy(encoded.test),
        classes=encoded.outputs,
        fingerprint=hashed,
        target_mean=None if mean is None else torch.from_numpy(mean),
        target_scale=None if scale is None else torch.from_numpy(scale),
        labels=encoded.names,
        per_class=task == "classification",
    )


def _labels(task: str, train: Samples, test: Samples) -> Labels:
    return (classes_of if task == "classification" else numbers_of)(train.y, test.y)


def _split(samples: Samples, labels: Labels, share: float, seed: int) -> tuple[Samples, Samples]:
    """Take ``share`` of the samples, of each class, as the test part; both parts are shuffled.

    Raises:
        CimsimError: if a part would be empty.
    """
    count = len(samples.y)
    groups = labels.train if labels.scale is None else np.zeros(count, np.int64)
    order = _order(count, "test part", seed)
    chosen = np.zeros(count, bool)
    for group in np.unique(groups):
        rows = order[groups[order] == group]
        most = len(rows) - 1  # each class has training samples
        chosen[rows[: min(max(round(share * len(rows)), 1), most)]] = True
    train, test = order[~chosen[order]], order[chosen[order]]
    if not len(train) or not len(test):
        raise CimsimError(f"{count} samples are too few to set a test part aside")
    return samples.take(train), samples.take(test)


def _mixed(samples: Samples, seed: int) -> Samples:
    """Shuffle samples that are sorted by label, since --limit and --samples take the first."""
    y = samples.y
    if y.ndim > 1 or len(y) < 2 or y[0] == y[-1] or not bool((y[:-1] <= y[1:]).all()):
        return samples
    return samples.take(_order(len(y), "sorted", seed))


def _order(count: int, *why: object) -> NDArray[np.int64]:
    rng = seeds.generator("own data", *why)
    return torch.randperm(count, generator=rng).numpy()


def _fingerprint(*arrays: Array) -> str:
    """Return the SHA-256 (hex) over shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        kind = "<f8" if array.dtype.kind == "f" else "<i8"
        digest.update(f"{array.shape}{kind}".encode())
        digest.update(np.ascontiguousarray(array.astype(kind)).data)
    return digest.hexdigest()
