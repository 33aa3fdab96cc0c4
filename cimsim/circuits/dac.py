"""DAC: what its codes really drive, and inputs that come one bit after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.circuits.converters import Converter, bow_steps
from cimsim.profile import DAC


def dac_converter(dac: DAC, unsigned: bool = False) -> Converter | None:
    """The converter from values to codes, for inputs that are ``unsigned`` if it has no sign; None
    if the DAC is ideal."""
    return None if dac.bits is None else Converter(dac.bits, unsigned=unsigned)


def analog_levels(dac: DAC, codes: Tensor, levels: int) -> Tensor:
    """The value that each code drives, in steps, with ``levels`` codes above zero; ``codes`` itself
    where nothing is wrong."""
    for error in dac.errors:
        if error.strength:
            codes = codes + bow_steps(error, codes, levels)
    return codes


def bit_planes(codes: Tensor, planes: int) -> Tensor:
    """Bits of the magnitude of ``codes``, each with the code's sign.

    ``[vectors, ...]`` gives ``[planes * vectors, ...]`` with values in {-1, 0, 1}, the least
    significant bit first, each with all vectors. NaN stays NaN.
    """
    # Powers of two divide exactly, so plain floats will do, and NaN is not lost in an integer.
    bits = (codes.abs() / _powers(planes, codes)).floor_().remainder_(2.0).mul_(codes.sign())
    return bits.flatten(0, 1)


def shift_add(y: Tensor, planes: int) -> Tensor:
    """``sum_p 2^p y_p`` over the planes of :func:`bit_planes`.

    ``[planes * vectors, ...]`` gives ``[vectors, ...]``.
    """
    by_plane: tuple[Tensor, ...] = y.unflatten(0, (planes, -1)).unbind()
    total = by_plane[-1]
    for plane in reversed(by_plane[:-1]):
        total = torch.add(plane, total, alpha=2)
    return total


def spread_planes(dy: Tensor, planes: int) -> Tensor:
    """The transpose of :func:`shift_add`: ``2^p dy`` for every plane.

    ``[vectors, ...]`` gives ``[planes * vectors, ...]``.
    """
    return (_powers(planes, dy) * dy).flatten(0, 1)


def _powers(planes: int, like: Tensor) -> Tensor:
    """``2^p`` of every plane, in front of the dimensions of ``like``."""
    powers = torch.arange(planes, dtype=like.dtype, device=like.device).exp2()
    return powers.view(-1, *[1] * like.dim())
