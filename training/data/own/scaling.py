"""Numbers of the user's data in standard deviations of the training samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

Numbers = NDArray[np.float64]


def moments(train: Numbers, axes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation over ``axes``, which stay with length 1; infinite or NaN
    for numbers that are too large."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = train.mean(axes, dtype=np.float64, keepdims=True)
        return mean, train.std(axes, dtype=np.float64, keepdims=True)


def in_deviations(
    what: str, mean: Numbers, deviation: Numbers, parts: Sequence[Numbers]
) -> list[NDArray[np.float32]]:
    """Return ``(x - mean) / deviation`` of each part in float32.

    Args:
        what: name of the numbers in an error.
        mean, deviation: see :func:`moments`.
        parts: the training and the test samples.

    Raises:
        CimsimError: if a result is not finite in float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = [((x - mean) / deviation).astype(np.float32) for x in parts]
    if not (np.isfinite(deviation).all() and all(np.isfinite(x).all() for x in scaled)):
        raise CimsimError(
            f"some {what} are too large: they do not fit float32 in standard deviations of the "
            "training samples; remove these samples, or take the logarithm"
        )
    return scaled
