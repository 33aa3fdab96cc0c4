"""The kernels of ``kernels.cpp``: built on first use where a C++ compiler is found, else absent.

:mod:`cimsim.kernels.build` builds and keeps the library. Each function here checks nothing: it is
for tensors that lie as its docstring says, on the CPU, in float32.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.kernels.build import Build, load
from cimsim.kernels.recipe import Recipe
from cimsim.lasting import lasting

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_LONG = ctypes.c_int64
_SEED = ctypes.c_uint64
_FLOAT = ctypes.c_float
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "normal": (_POINTER, _LONG, _SEED, _INT),
    "program": (
        *(_POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
        *(ctypes.c_double, _POINTER, _POINTER, _POINTER, _INT, _POINTER, _INT),
    ),
    "pull": (
        *(_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, ctypes.c_double),
        *(_POINTER, _POINTER, _POINTER, _POINTER, _FLOAT, _POINTER, _INT),
    ),
    "encode": (
        *(_POINTER, _LONG, _POINTER, _FLOAT, _FLOAT, _POINTER, _POINTER, _INT, _POINTER, _POINTER),
        _INT,
    ),
    "convert": (
        *(_POINTER, _POINTER, _INT, _POINTER, _POINTER, _FLOAT, _POINTER, _INT, _POINTER),
        *(_POINTER, _FLOAT, _FLOAT, _FLOAT, _SEED, _SEED, _POINTER, _POINTER, _INT),
    ),
    "spread": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "gate": (_POINTER, _POINTER, _POINTER, _LONG, _POINTER, _FLOAT, _FLOAT, _INT),
    "fingerprint": (_POINTER, _LONG, _POINTER, _INT),
}


class Dac(NamedTuple):
    """A full scale (one number), the codes above zero that it is divided into, and the lowest."""

    full_scale: Tensor
    levels: int
    lowest: int

    @property
    def size(self) -> Tensor:
        """What one code is worth."""
        return self.full_scale / self.levels

    @property
    def byte(self) -> torch.dtype:
        """The type of one byte that holds the codes of up to 8 bits."""
        return torch.uint8 if self.lowest == 0 else torch.int8


class Lines(NamedTuple):
    """Where currents lie: ``[outer, tiles, lines, line]``. A line holds a value for each column, or
    (``of_columns`` false) the values of one column; the tiles of group ``g`` serve every
    ``groups``-th outer part from ``g`` on."""

    outer: int
    groups: int
    tiles: int
    lines: int
    line: int
    of_columns: bool


@lru_cache(maxsize=1)
def build() -> Build:
    """Compile the kernels if they are not in the cache, and load them; once in each process."""
    return load(_SIGNATURES)


def _call(name: str, *arguments: object) -> None:
    _functions()[name](*arguments, torch.get_num_threads())


@lru_cache(maxsize=1)
def _functions() -> dict[str, Callable[..., None]]:
    library = build().library
    return {name: getattr(library, f"cimsim_{name}") for name in _SIGNATURES}


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@lru_cache(maxsize=1)
def variance_dtype() -> torch.dtype:
    """What variances of read noise are multiplied in: bf16 where the processor does that faster.

    They are spreads, not signals: rounding both factors and the result to 8 bits moves the size of
    the noise by less than 0.3 %.
    """
    library = build().library
    return torch.bfloat16 if library is not None and library.cimsim_has_bf16() else torch.float32


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self.views: dict[tuple[str, torch.dtype, tuple[int, ...]], Tensor] = {}


_scratch = _Scratch()


def scratch(slot: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory for a result that is used up before the same ``slot`` is asked for again.

    Fresh memory costs more than what is written to it: the system clears it page by page. Each
    thread has its own, as large as the largest that was asked for.
    """
    view = _scratch.views.get((slot, dtype, shape))
    if view is not None:
        return view
    memory = _scratch.memory.get((slot, dtype))
    numel = math.prod(shape)
    with lasting():
        if memory is None or memory.numel() < numel:
            # Views of what is outgrown must not keep it.
            for key in [key for key in _scratch.views if key[:2] == (slot, dtype)]:
                del _scratch.views[key]
            memory = _scratch.memory[slot, dtype] = torch.empty(numel, dtype=dtype)
        view = _scratch.views[slot, dtype, shape] = memory[:numel].view(shape)
    return view


def empty(slot: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory for a passing result: :func:`scratch`."""
    return scratch(slot, tuple(shape), dtype)


def normal(out: Tensor, seed: int) -> None:
    """Fill the contiguous ``out`` with N(0, 1): the same numbers for the same seed and position."""
    _call("normal", out.data_ptr(), out.numel(), seed)


Draws = Sequence[Sequence[tuple[int, float]]]
"""For each static normal number of a cell, the seeds and sizes of those that it is the sum of."""


class Cells(NamedTuple):
    """What :func:`program` makes; see there."""

    relative: Tensor
    scale: Tensor
    slope: Tensor | None
    variance: Tensor | None
    sums: Tensor | None


def program(
    weight: Tensor,
    scale: Tensor | None,
    recipe: Recipe,
    draws: Draws,
    age_s: float,
    want_slope: bool = False,
    passing: bool = False,
) -> Cells:
    """Weights on cells, programmed and aged.

    Args:
        weight: ``[tiles, columns, rows]``, neighboring rows side by side in memory.
        scale: ``[tiles, columns]``; None for the largest weight of each column.
        recipe: the physics.
        draws: for each of ``recipe.draws`` (a number for every cell) and then each read noise (one
            for all cells of a weight), the seeds and sizes of what is summed up; nothing where
            there is no slow part.
        age_s: seconds since programming.
        want_slope: whether to find the derivative of ``relative`` by ``weight / scale`` (and not
            the read variance).

    Returns:
        Relative currents, their slopes and read variances ``[tiles, columns, rows]``, the scale,
        and where the cells drift ``[2, tiles, columns]`` of what drift compensation compares: the
        sum of absolute relative weights of each column, before and now.
    """
    tiles, columns, rows = weight.shape
    numbers, names = _numbers(recipe), _drawn(draws)
    find_scale = scale is None
    scale = weight.new_empty(tiles, columns) if scale is None else scale.contiguous()
    shape = (tiles, columns, rows)

    def field(slot: str, dtype: torch.dtype) -> Tensor:
        return scratch(slot, shape, dtype) if passing else torch.empty(shape, dtype=dtype)

    relative = field("relative", torch.float32)
    slope = field("slope", torch.float32) if want_slope else None
    wants_variance = recipe.reads and not want_slope
    variance = field("variance", variance_dtype()) if wants_variance else None
    sums = weight.new_empty(2, tiles, columns, dtype=torch.float64) if recipe.drifts else None
    dims = (_LONG * 5)(tiles, columns, rows, *weight.stride()[:2])
    _call(
        "program",
        *(weight.data_ptr(), scale.data_ptr(), find_scale, dims, numbers, *names, age_s),
        *(relative.data_ptr(), _at(slope), *_variance(variance), _at(sums)),
    )
    return Cells(relative, scale, slope, variance, sums)


def pull(
    weight: Tensor,
    cells: Cells | None,
    recipe: Recipe,
    draws: Draws,
    age_s: float,
    gradient: Tensor,
    dac: Dac | None,
    out: Tensor,
) -> None:
    """``dL/dweight`` into ``out``, which lies in memory as ``weight`` does.

    For cells from whose currents nothing is subtracted digitally. ``gradient`` times the DAC's step
    is ``dL/d relative``, ``[tiles, columns, rows]``; the scale is the largest weight of each
    column, and what arrives at it goes to that weight. Without ``cells``, and their slopes, they
    are programmed as by :func:`program`.
    """
    tiles, columns, rows = weight.shape
    numbers, names = _numbers(recipe), _drawn(draws)
    dims = (_LONG * 5)(tiles, columns, rows, *weight.stride()[:2])
    scale = scratch("scale", (tiles, columns)) if cells is None else cells.scale
    relative, slope = (None, None) if cells is None else (cells.relative, cells.slope)
    _call(
        "pull",
        *(weight.data_ptr(), scale.data_ptr(), dims, numbers, *names, age_s),
        *(_at(relative), _at(slope), gradient.data_ptr(), *_pointers(dac), out.data_ptr()),
    )


def _variance(field: Tensor | None) -> tuple[int | None, bool]:
    return (None, False) if field is None else (field.data_ptr(), field.dtype == torch.bfloat16)


def _pointers(dac: Dac | None) -> tuple[int | None, int]:
    return (None, 1) if dac is None else (dac.full_scale.data_ptr(), dac.levels)


class Codes(NamedTuple):
    """What :func:`encode` makes: codes as floats, their squares, as bytes, and the packed mask."""

    values: Tensor
    squares: Tensor | None
    kept: Tensor | None
    mask: Tensor | None


def encode(
    x: Tensor,
    dac: Dac,
    want_squares: bool = False,
    want_kept: bool = False,
    want_mask: bool = False,
) -> Codes:
    """The DAC's codes of the contiguous ``x``; bytes hold those of up to 8 bits only, without a
    sign where there is none.

    Values and squares lie in :func:`scratch`.
    """
    values = scratch("codes", tuple(x.shape))
    squares = scratch("squares", tuple(x.shape), variance_dtype()) if want_squares else None
    kept = torch.empty_like(x, dtype=dac.byte) if want_kept else None
    mask = x.new_empty(-(-x.numel() // 8), dtype=torch.uint8) if want_mask else None
    _call(
        "encode",
        *(x.data_ptr(), x.numel(), *_pointers(dac), dac.lowest),
        *(values.data_ptr(), *_variance(squares), _at(kept), _at(mask)),
    )
    return Codes(values, squares, kept, mask)


def convert(
    z: Tensor,
    variance: Tensor | None,
    lines: Lines,
    dac: Dac | None,
    adc_full_scale: Tensor,
    codes: tuple[int, int],
    scale: Tensor,
    bias: Tensor | None,
    noise_steps: float,
    seeds: tuple[int, int],
    y: Tensor,
    want_mask: bool,
) -> Tensor | None:
    """The ADC and the digital sum: ``y = sum_tiles scale * step * code(z / step + noise) + bias``.

    Args:
        z: currents in units of weight times the steps of the DAC, laid out as ``lines`` says.
        variance: of the currents by read noise, like ``z``, of :func:`variance_dtype`.
        lines: the layout.
        dac: what a step of the input is worth; 1 if None.
        adc_full_scale: one number, one for each of ``groups * tiles``, or one for each column of
            these, contiguous.
        codes: lowest and highest.
        scale: per column, ``[groups * tiles, columns]``, contiguous.
        bias: per output.
        noise_steps: spread of the ADC's own noise in its steps.
        seeds: of the read noise and of the ADC's.
        y: the output, contiguous; overwritten.
        want_mask: whether to tell which conversions did not saturate, one bit each, every line on
            bytes of its own.
    """
    mask = None
    if want_mask:
        bytes_of_mask = z.numel() // lines.line * -(-lines.line // 8)
        mask = z.new_empty(bytes_of_mask, dtype=torch.uint8)
    _call(
        "convert",
        *(z.data_ptr(), *_variance(variance), (_LONG * 6)(*lines), *_pointers(dac)),
        *(adc_full_scale.data_ptr(), adc_full_scale.dim(), scale.data_ptr(), _at(bias), *codes),
        *(noise_steps, *seeds, y.data_ptr(), _at(mask)),
    )
    return mask


def spread(dy: Tensor, mask: Tensor | None, lines: Lines, scale: Tensor | None, dz: Tensor) -> None:
    """``dz = mask * scale * dy`` of every tile; layouts and mask as for :func:`convert`."""
    _call(
        "spread",
        *(dy.data_ptr(), _at(mask), (_LONG * 6)(*lines), _at(scale), dz.data_ptr()),
    )


def gate(dx: Tensor, x: Tensor | None, mask: Tensor | None, dac: Dac) -> None:
    """Keep ``dx`` where the DAC did not saturate: as ``mask`` says, or else as ``x`` tells."""
    _call("gate", dx.data_ptr(), _at(x), _at(mask), dx.numel(), *_pointers(dac), dac.lowest)


def fingerprint(values: Tensor) -> int:
    """A 64-bit number of the bytes of the contiguous ``values``, of any dtype."""
    found = ctypes.c_uint64()
    _call("fingerprint", values.data_ptr(), values.nbytes, ctypes.addressof(found))
    return found.value


def _drawn(draws: Draws) -> tuple[object, object, object]:
    """How many numbers are summed up for each draw, their seeds, and their sizes."""
    counts, parts = [len(each) for each in draws], [part for each in draws for part in each]
    return (
        (_LONG * max(1, len(counts)))(*counts),
        (_SEED * max(1, len(parts)))(*(seed for seed, _ in parts)),
        (_FLOAT * max(1, len(parts)))(*(size for _, size in parts)),
    )


@lru_cache(maxsize=64)
def _numbers(recipe: Recipe) -> ctypes.Array[ctypes.c_float]:
    return (_FLOAT * len(recipe.numbers))(*recipe.numbers)
