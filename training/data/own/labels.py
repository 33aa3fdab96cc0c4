"""Labels of the user's data: classes of any kind, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.suggest import listed
from cimsim.training.data.own.scaling import in_deviations, moments

Array = NDArray[Any]

_FEW = 20  # whole numbers of at most so many values are classes


@dataclass(frozen=True)
class Labels:
    """Labels as a model learns them.

    Attributes:
        train, test: int64 [N] in ``0 .. outputs-1``; or float32 [N, K], standardized.
        outputs: number of classes or of targets.
        names: names of the classes, unless they are ``0 .. outputs-1``.
        mean, scale: of the training targets [K], float64; None for classes.
    """

    train: Array
    test: Array
    outputs: int
    names: tuple[str, ...] = ()
    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None


def task_of(y: Array, task: str | None) -> str:
    """Return ``task``, or by default the kind of the labels ``y``.

    Text, truth values, and whole numbers are classes: whole numbers of at most 20 values, or 0 to
    K-1, or 1 to K. All other numbers are targets of a regression.

    >>> task_of(np.array(["a", "b"]), None), task_of(np.array([0.5, 1.5]), None)
    ('classification', 'regression')

    Raises:
        CimsimError: if they are neither, or ``task`` does not fit them.
    """
    kind = y.dtype.kind
    if kind not in "USbiuf":
        raise CimsimError(f"labels must be text or numbers, not {y.dtype}")
    if kind in "US" and task == "regression":
        raise CimsimError("the labels are text, which are classes; remove task=regression")
    if kind == "f" and not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise CimsimError(f"{count} labels are NaN or infinite; remove those samples")
    if task is not None:
        return task
    if kind in "USb":
        return "classification"
    return "classification" if kind in "iu" and _are_classes(y) else "regression"


def _are_classes(y: Array) -> bool:
    values = np.unique(y)
    first, last = int(values[0]), int(values[-1])
    return len(values) <= _FEW or (first in (0, 1) and last - first + 1 == len(values))


def classes_of(train: Array, test: Array) -> Labels:
    """Number the classes of the training labels, in sorted order.

    Raises:
        CimsimError: if labels are not one for each sample, there is a single class, or a class
            occurs in the test labels only.
    """
    train, test = (_one_each(y) for y in (train, test))
    values = np.unique(train)
    if len(values) < 2:
        raise CimsimError(f"all training samples are of one class, '{values[0]}'; two are needed")
    at = np.searchsorted(values, test).clip(max=len(values) - 1)
    unknown = np.unique(test[values[at] != test])
    if len(unknown):
        names = listed(str(value) for value in unknown)
        raise CimsimError(f"the test samples have classes without training samples: {names}")
    numbered = values.dtype.kind in "iuf" and np.array_equal(values, np.arange(len(values)))
    classes = () if numbered else tuple(str(value) for value in values)
    codes = np.searchsorted(values, train).astype(np.int64)
    return Labels(codes, at.astype(np.int64), len(values), classes)


def _one_each(y: Array) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise CimsimError(
            f"classes must be one label for each sample, [N], not {list(y.shape)}; several labels "
            "for each sample are supported as numbers (task=regression) only"
        )
    if y.dtype.kind == "f" and not (y == np.round(y)).all():
        raise CimsimError("classes must be whole numbers or text, not fractions")
    return y


def numbers_of(train: Array, test: Array) -> Labels:
    """Standardize targets: ``(y - mean) / std`` of the training samples.

    Raises:
        CimsimError: if they are not [N] or [N, K], not finite, too large, or equal in all training
            samples.
    """
    first, second = (_columns(y) for y in (train, test))
    if first.shape[1] != second.shape[1]:
        raise CimsimError(
            f"training samples have {first.shape[1]} targets, but test samples {second.shape[1]}"
        )
    mean, scale = moments(first, (0,))
    if not scale.all():
        number = int(np.flatnonzero(scale == 0)[0])
        raise CimsimError(f"target {number} is {first[0, number]:g} in all training samples")
    standard = in_deviations("targets", mean, scale, (first, second))
    return Labels(standard[0], standard[1], first.shape[1], mean=mean[0], scale=scale[0])


def _columns(y: Array) -> NDArray[np.float64]:
    if y.ndim not in (1, 2):
        raise CimsimError(f"targets must be [N] or [N, K], not {list(y.shape)}")
    columns = y.reshape(len(y), -1).astype(np.float64)
    if not np.isfinite(columns).all():
        raise CimsimError("some targets are NaN or infinite; remove those samples")
    return columns
