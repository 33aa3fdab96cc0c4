"""Inputs of the user's data: vectors or images, standardized by the training samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import Pixels, normalized_pixels
from cimsim.training.data.own.scaling import in_deviations, moments

Array = NDArray[Any]

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Inputs:
    """Standardized inputs float32 [N, F] or [N, C, H, W]; ``pixels`` are raw 8-bit images."""

    x: Tensor
    pixels: Pixels | None = None


def standardized(train: Array, test: Array) -> tuple[Inputs, Inputs]:
    """Shift and scale each feature, or each channel of images, to mean 0 and deviation 1.

    [N, F] are vectors; [N, H, W], [N, C, H, W] and [N, H, W, C] are images. A feature that is
    constant in the training samples is only shifted.

    Raises:
        CimsimError: if the inputs are not numbers of such a shape, training and test samples differ
            in shape, only one part has images of uint8, there is NaN or infinity, inputs are too
            large, or all inputs are equal.
    """
    train, test = (_shaped(x) for x in (train, test))
    if train.shape[1:] != test.shape[1:]:
        raise CimsimError(
            f"training samples have the shape {list(train.shape[1:])}, but test samples "
            f"{list(test.shape[1:])}"
        )
    if train.ndim == 4 and (train.dtype == np.uint8) != (test.dtype == np.uint8):
        one, other = ("training", "test") if train.dtype == np.uint8 else ("test", "training")
        raise CimsimError(
            f"{one} images are uint8, but {other} images are not; save both with the same type"
        )
    if train.ndim == 4 and train.dtype == np.uint8:
        train, test = (np.ascontiguousarray(x) for x in (train, test))
        first, second = normalized_pixels("the images", train, test)
        return Inputs(first, train), Inputs(second, test)
    for part, x in (("training", train), ("test", test)):
        _require_finite(part, x)
    axes = (0,) if train.ndim == 2 else (0, 2, 3)
    mean, deviation = moments(train, axes)
    # Rounding leaves a tiny deviation of equal numbers.
    constant = deviation <= 1e-9 * np.abs(mean)
    if constant.all():
        raise CimsimError("all training inputs are equal; there is nothing to learn from")
    deviation = np.where(constant, 1.0, deviation)
    parts = in_deviations("inputs", mean, deviation, (train, test))
    return Inputs(torch.from_numpy(parts[0])), Inputs(torch.from_numpy(parts[1]))


def _shaped(x: Array) -> Array:
    """Return vectors [N, F] or images [N, C, H, W]."""
    if x.dtype.kind not in "buif":
        raise CimsimError(f"inputs must be numbers, not {x.dtype}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    if x.ndim not in (2, 4):
        raise CimsimError(
            f"inputs must be vectors [N, F] or images [N, H, W], [N, C, H, W] or [N, H, W, C], not "
            f"{list(x.shape)}"
        )
    if 0 in x.shape[1:]:
        raise CimsimError(f"inputs of the shape {list(x.shape)} have no numbers")
    return x if x.dtype == np.uint8 and x.ndim == 4 else x.astype(np.float64)


def _require_finite(part: str, x: Array) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        at = [int(number) for number in np.argwhere(bad)[0]]
        raise CimsimError(
            f"{int(bad.sum())} {part} inputs are NaN or infinite, the first at {at}; remove or "
            "fill them"
        )
