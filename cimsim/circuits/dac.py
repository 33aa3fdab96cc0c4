"""DAC: analog levels of its codes, and bit-serial inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.circuits.converters import Converter, bow_steps
from cimsim.profile import DAC


def dac_converter(dac: DAC, unsigned: bool = False) -> Converter | None:
    """Return the converter from values to (``unsigned``) codes; None if the DAC is ideal."""
    return None if dac.bits is None else Converter(dac.bits, unsigned=unsigned)


def analog_levels(dac: DAC, codes: Tensor, levels: int) -> Tensor:
    """Return the analog value of each code in steps; ``codes`` itself without errors.

    ``levels`` is the number of codes above zero.
    """
    for error in dac.errors:
        if error.strength:
            codes = codes + bow_steps(error, codes, levels)
    return codes


def bit_planes(codes: Tensor, planes: int) -> Tensor:
    """Return the bits of the magnitude of ``codes``, each with the code's sign.

    ``[vectors, ...]`` becomes ``[planes * vectors, ...]`` with values in {-1, 0, 1}; planes are the
    outer dimension, least significant bit first. NaN stays NaN.
    """
    # Floats are exact for powers of two and, unlike integers, keep NaN.
    bits = (codes.abs() / _powers(planes, codes)).floor_().remainder_(2.0).mul_(codes.sign())
    return bits.flatten(0, 1)


def shift_add(y: Tensor, planes: int) -> Tensor:
    """Return ``sum_p 2^p y_p`` over the planes of :func:`bit_planes`.

    ``[planes * vectors, ...]`` becomes ``[vectors, ...]``.
    """
    by_plane: tuple[Tensor, ...] = y.unflatten(0, (planes, -1)).unbind()
    total = by_plane[-1]
    for plane in reversed(by_plane[:-1]):
        total = torch.add(plane, total, alpha=2)
    return total


def spread_planes(dy: Tensor, planes: int) -> Tensor:
    """Return the transpose of :func:`shift_add`: ``2^p dy`` for every plane.

    ``[vectors, ...]`` becomes ``[planes * vectors, ...]``.
    """
    return (_powers(planes, dy) * dy).flatten(0, 1)


def _powers(planes: int, like: Tensor) -> Tensor:
    """Return ``2^p`` of every plane, with the dimensions of ``like`` appended."""
    powers = torch.arange(planes, dtype=like.dtype, device=like.device).exp2()
    return powers.view(-1, *[1] * like.dim())
