"""DAC: what its codes really drive, and inputs that come one bit after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.circuits.converters import Converter, bow_steps
from cimsim.profile import DAC


def dac_converter(dac: DAC) -> Converter | None:
    """The converter from values to codes; None if the DAC is ideal."""
    return None if dac.bits is None else Converter(dac.bits)


def analog_levels(dac: DAC, codes: Tensor) -> Tensor:
    """The value that each code drives, in steps; ``codes`` itself where nothing is wrong."""
    active = [error for error in dac.errors if error.strength]
    converter = dac_converter(dac)
    if converter is None or not active:
        return codes
    for error in active:
        codes = codes + bow_steps(error, codes, converter.levels)
    return codes


def bit_planes(codes: Tensor, bits: int) -> Tensor:
    """Bits of the magnitude of ``codes``, each with the code's sign.

    ``[vectors, ...]`` gives ``[planes * vectors, ...]`` with values in {-1, 0, 1}; there are
    ``bits - 1`` planes, the least significant first, each with all vectors. NaN stays NaN.
    """
    # Powers of two divide exactly, so plain floats will do, and NaN is not lost in an integer.
    planes = (codes.abs() / _powers(bits, codes)).floor_().remainder_(2.0).mul_(codes.sign())
    return planes.flatten(0, 1)


def shift_add(y: Tensor, bits: int) -> Tensor:
    """``sum_p 2^p y_p`` over the planes of :func:`bit_planes`.

    ``[planes * vectors, ...]`` gives ``[vectors, ...]``.
    """
    planes: tuple[Tensor, ...] = y.unflatten(0, (bits - 1, -1)).unbind()
    total = planes[-1]
    for plane in reversed(planes[:-1]):
        total = torch.add(plane, total, alpha=2)
    return total


def spread_planes(dy: Tensor, bits: int) -> Tensor:
    """The transpose of :func:`shift_add`: ``2^p dy`` for every plane.

    ``[vectors, ...]`` gives ``[planes * vectors, ...]``.
    """
    return (_powers(bits, dy) * dy).flatten(0, 1)


def _powers(bits: int, like: Tensor) -> Tensor:
    """``2^p`` of every plane, in front of the dimensions of ``like``."""
    powers = torch.arange(bits - 1, dtype=like.dtype, device=like.device).exp2()
    return powers.view(-1, *[1] * like.dim())
