"""The CPU's back end: calls of ``kernels.cpp``, which is compiled on first use.

:mod:`cimsim.kernels.build` compiles and caches the library; without a C++ compiler this back end is
absent. Functions are documented in :class:`cimsim.kernels.types.ProgrammingBackend`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

from cimsim.dtypes import as_dtype
from cimsim.kernels.build import Build, load
from cimsim.kernels.memory import scratch
from cimsim.kernels.packing import PackedPhysics
from cimsim.kernels.types import (
    Cells,
    Codes,
    Compensation,
    Dac,
    Draws,
    Images,
    Lines,
    Windows,
    bytes_for_bits,
)

programs = True

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_LONG = ctypes.c_int64
_SEED = ctypes.c_uint64
_FLOAT = ctypes.c_float
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "normal": (_POINTER, _LONG, _SEED, _INT),
    "program": (
        *(_POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
        *(ctypes.c_double, _POINTER, _POINTER, _POINTER, _INT, _INT, _INT),
    ),
    "vjp_programming": (
        *(_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, ctypes.c_double),
        *(_POINTER, _POINTER, _POINTER, _POINTER, _FLOAT, _POINTER, _INT),
    ),
    "encode": (
        *(_POINTER, _LONG, _POINTER, _FLOAT, _FLOAT, _POINTER, _POINTER, _INT, _POINTER, _POINTER),
        *(_POINTER, _INT),
    ),
    "digitize": (
        *(_POINTER, _POINTER, _INT, _POINTER, _POINTER, _FLOAT, _POINTER, _INT, _POINTER),
        *(_POINTER, _FLOAT, _FLOAT, _FLOAT, _SEED, _SEED, _POINTER, _POINTER, _INT),
    ),
    "scatter_to_columns": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "mask_gradient": (
        *(_POINTER, _POINTER, _POINTER, _LONG),
        *(_POINTER, _FLOAT, _FLOAT, _POINTER, _INT),
    ),
    "rectify": (_POINTER, _LONG, _FLOAT, _POINTER, _POINTER, _INT),
    "pass_gradient": (_POINTER, _POINTER, _LONG, _POINTER, _INT),
    "max_pool": (_POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "max_unpool": (_POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "codes_on_grid": (_POINTER, _LONG, _LONG, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "values_on_grid": (_POINTER, _LONG, _LONG, _POINTER, _POINTER, _POINTER, _INT),
    "multiply": (_INT, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _INT, _POINTER, _INT),
    "convolve": (
        *(_INT, _POINTER, _INT, _INT, _POINTER, _INT, _POINTER, _POINTER, _INT, _POINTER, _INT),
    ),
    "correlate": (_INT, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "fingerprint": (_POINTER, _LONG, _POINTER, _INT),
}


@lru_cache(maxsize=1)
def build() -> Build:
    """Load the kernels, compiled first if they are not in the cache; once per process."""
    return load("kernels", _SIGNATURES)


def _call(name: str, *arguments: object) -> None:
    _functions()[name](*arguments, torch.get_num_threads())


def _multiply(name: str, on: Unit | None, *arguments: object) -> None:
    """Call a function of a unit, which needs memory for packed numbers."""
    if on is None or on is not unit():
        raise ValueError(f"this processor has no unit for these operands of {name}")
    failed = ctypes.c_int()
    _call(name, on, *arguments, ctypes.addressof(failed))
    if failed.value:
        raise MemoryError("there is not enough memory to pack the operands of a product")


@lru_cache(maxsize=1)
def _functions() -> dict[str, Callable[..., None]]:
    library = build().library
    return {name: getattr(library, f"cimsim_{name}") for name in _SIGNATURES}


@lru_cache(maxsize=4096)
def _dims(numbers: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    return (_LONG * len(numbers))(*numbers)


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def variance_dtype(products: int) -> torch.dtype:
    """See :meth:`cimsim.kernels.types.Backend.variance_dtype`."""
    return torch.bfloat16 if products >= _MANY_PRODUCTS and _has_bf16() else torch.float32


# Fewer take longer in bf16 than in float32, on one thread and on two.
_MANY_PRODUCTS = 1 << 21
_FEW_VECTORS = 32


@lru_cache(maxsize=1)
def _has_bf16() -> bool:
    library = build().library
    return library is not None and bool(library.cimsim_has_bf16())


class Unit(IntEnum):
    """A part of a processor that multiplies numbers of 16 bits faster than float32.

    Attributes:
        MATRIX: multiplies bfloat16 (AMX). A float32 number is the sum of two, to ``2^-17`` of the
            number; whole numbers up to 256 are one.
        VECTOR: multiplies integers (AVX-512 VNNI). One factor holds whole numbers up to 256. The
            other is split into lines of numbers that are summed over, and lines into parts of 256;
            its numbers are multiples of the 32767th part of the largest one in their part.
    """

    MATRIX = 1
    VECTOR = 2


@lru_cache(maxsize=1)
def unit() -> Unit | None:
    """The unit of this processor, if it has one. Kernels for a processor with AMX have no code for
    the other unit."""
    library = build().library
    if library is None:
        return None
    return next((unit for unit in Unit if library.cimsim_has_unit(unit)), None)


def unit_for(whole: bool) -> Unit | None:
    """The unit of products of which a factor holds ``whole`` numbers, or none does; None if torch
    computes them."""
    return unit() if whole or unit() is Unit.MATRIX else None


def multiply(a: Tensor, b: Tensor, out: Tensor, whole: tuple[bool, bool]) -> None:
    """``out = a b`` on a unit, of batches of float32 matrices ``[batch, m, k]`` and ``[batch, k,
    n]``.

    ``whole`` is whether each factor holds whole numbers up to 256. In both factors, one of the
    last two strides is 1; ``out`` is contiguous.
    """
    dims = _dims((*a.shape, b.shape[2], *a.stride(), *b.stride()))
    operands = (a.data_ptr(), b.data_ptr(), out.data_ptr())
    _multiply("multiply", unit_for(any(whole)), *operands, dims, *whole)


_IMAGES = {torch.float32: 0, torch.int8: 1, torch.uint8: 2}


def convolve(
    x: Tensor,
    kernels: Tensor,
    out: Tensor,
    images: Images,
    squared: bool = False,
    transposed: bool = False,
) -> None:
    """``out = x * kernels`` on a unit, as by :func:`multiply`.

    Args:
        x: ``[images, tiles * channels, height, width]``, of one byte each, or in float32 on the
            matrix unit.
        kernels: ``[tiles * columns, channels, kernel_height, kernel_width]``, in float32 or
            bfloat16; if ``transposed``, ``[tiles * channels, columns, ...]``, which are applied
            upside down.
        out: ``[images, tiles * columns, out_height, out_width]``.
        images: all of these sizes. All three tensors are contiguous.
        squared: on the matrix unit, whether the squares of the bytes ``x`` are convolved, rounded
            to bfloat16.
        transposed: see ``kernels``.
    """
    low = kernels.dtype is torch.bfloat16
    kernels = as_dtype(kernels, torch.float32)
    on = Unit.MATRIX if squared else unit_for(x.dtype is not torch.float32)
    _multiply(
        *("convolve", on, x.data_ptr(), _IMAGES[x.dtype], squared, kernels.data_ptr(), low),
        *(out.data_ptr(), _dims(images), transposed),
    )


def correlate(x: Tensor, dz: Tensor, out: Tensor, images: Images) -> None:
    """The gradient ``out`` of the kernels of :func:`convolve`, for the gradient ``dz`` of its
    result in float32; ``x`` as there."""
    on = unit_for(x.dtype is not torch.float32)
    _multiply(
        *("correlate", on, x.data_ptr(), _IMAGES[x.dtype], dz.data_ptr()),
        *(out.data_ptr(), _dims(images)),
    )


def normal(out: Tensor, seed: int) -> None:
    """See :meth:`cimsim.kernels.types.Backend.normal`."""
    _call("normal", out.data_ptr(), out.numel(), seed)


_COMPENSATIONS: dict[Compensation, int] = {"none": 0, "per-column": 1, "global": 2}


def program(
    weight: Tensor,
    scale: Tensor | None,
    packed: PackedPhysics,
    draws: Draws,
    age_s: float,
    want_slope: bool = False,
    single_use: bool = False,
    compensation: Compensation = "none",
) -> Cells:
    """See :meth:`cimsim.kernels.types.ProgrammingBackend.program`."""
    tiles, columns, rows = weight.shape
    numbers, names = packed.numbers.buffer_info()[0], _flattened(draws)
    find_scale = scale is None
    scale = (
        weight.new_empty(tiles, columns)
        if scale is None
        else scale.clone(memory_format=torch.contiguous_format)  # compensation writes to it
    )
    shape = (tiles, columns, rows)

    def field(slot: str, dtype: torch.dtype) -> Tensor:
        if single_use:
            return scratch(slot, shape, dtype)
        return torch.empty(shape, dtype=dtype, device=weight.device)

    relative = field("relative", torch.float32)
    slope = field("slope", torch.float32) if want_slope else None
    wants_variance = packed.reads and not want_slope
    low = variance_dtype(_FEW_VECTORS * weight.numel())
    variance = field("variance", low) if wants_variance else None
    dims = _dims((tiles, columns, rows, *weight.stride()[:2]))
    _call(
        "program",
        *(weight.data_ptr(), scale.data_ptr(), find_scale, dims, numbers, *names, age_s),
        *(relative.data_ptr(), _at(slope), *_variance(variance)),
        _COMPENSATIONS[compensation] if packed.drifts else 0,
    )
    return Cells(relative, scale, slope, variance)


def vjp_programming(
    weight: Tensor,
    cells: Cells | None,
    packed: PackedPhysics,
    draws: Draws,
    age_s: float,
    gradient: Tensor,
    dac: Dac | None,
    out: Tensor,
) -> None:
    """See :meth:`cimsim.kernels.types.ProgrammingBackend.vjp_programming`."""
    tiles, columns, rows = weight.shape
    numbers, names = packed.numbers.buffer_info()[0], _flattened(draws)
    dims = _dims((tiles, columns, rows, *weight.stride()[:2]))
    gradient = as_dtype(gradient, torch.float32)
    scale = scratch("scale", (tiles, columns)) if cells is None else cells.scale
    relative, slope = (None, None) if cells is None else (cells.relative, cells.slope)
    _call(
        "vjp_programming",
        *(weight.data_ptr(), scale.data_ptr(), dims, numbers, *names, age_s),
        *(_at(relative), _at(slope), gradient.data_ptr(), *_pointers(dac), out.data_ptr()),
    )


def _variance(field: Tensor | None) -> tuple[int | None, bool]:
    return (None, False) if field is None else (field.data_ptr(), field.dtype == torch.bfloat16)


def _pointers(dac: Dac | None) -> tuple[int | None, int]:
    return (None, 1) if dac is None else (dac.full_scale.data_ptr(), dac.levels)


def encode(
    x: Tensor,
    dac: Dac,
    dtype: torch.dtype | None = None,
    squares: torch.dtype | None = None,
    want_stored: bool = False,
    want_mask: bool = False,
) -> Codes:
    """See :meth:`cimsim.kernels.types.Backend.encode`."""
    as_bytes = dtype is dac.byte
    values = None if as_bytes else scratch("codes", x.shape)
    squared = None if squares is None else scratch("squares", x.shape, squares)
    stored = None
    if want_stored:
        stored = torch.empty_like(x, dtype=dac.byte)
    elif as_bytes:
        stored = scratch("codes", x.shape, dac.byte)
    mask = x.new_empty(bytes_for_bits(x.numel()), dtype=torch.uint8) if want_mask else None
    undefined = ctypes.c_int()
    _call(
        "encode",
        *(x.data_ptr(), x.numel(), *_pointers(dac), dac.lowest),
        *(_at(values), *_variance(squared), _at(stored), _at(mask), ctypes.addressof(undefined)),
    )
    if values is not None:
        return Codes(as_dtype(values, dtype or x.dtype), squared, stored, mask)
    if undefined.value:  # no byte is NaN
        return encode(x, dac, torch.float32, squares, want_stored, want_mask)
    assert stored is not None
    return Codes(stored, squared, stored if want_stored else None, mask)


def digitize(
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
    """See :meth:`cimsim.kernels.types.Backend.digitize`."""
    mask = z.new_empty(lines.mask_bytes, dtype=torch.uint8) if want_mask else None
    z = as_dtype(z, torch.float32)
    _call(
        "digitize",
        *(z.data_ptr(), *_variance(variance), _dims(lines), *_pointers(dac)),
        *(adc_full_scale.data_ptr(), adc_full_scale.dim(), scale.data_ptr(), _at(bias), *codes),
        *(noise_steps, *seeds, y.data_ptr(), _at(mask)),
    )
    return mask


def scatter_to_columns(
    dy: Tensor,
    mask: Tensor | None,
    lines: Lines,
    scale: Tensor | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
) -> Tensor:
    """See :meth:`cimsim.kernels.types.Backend.scatter_to_columns`."""
    dz = scratch("dz", shape)
    _call(
        "scatter_to_columns",
        *(dy.data_ptr(), _at(mask), _dims(lines), _at(scale), dz.data_ptr()),
    )
    return as_dtype(dz, dtype)


def mask_gradient(
    dx: Tensor, x: Tensor | None, mask: Tensor | None, dac: Dac, want_range: bool = False
) -> Tensor | None:
    """See :meth:`cimsim.kernels.types.Backend.mask_gradient`."""
    by_full = dx.new_empty(-(-dx.numel() // 4096)) if want_range else None
    _call(
        *("mask_gradient", dx.data_ptr(), _at(x), _at(mask), dx.numel()),
        *(*_pointers(dac), dac.lowest, _at(by_full)),
    )
    return None if by_full is None else by_full.sum()


def rectify(x: Tensor, y: Tensor, ceiling: float = math.nan) -> Tensor:
    """Write ``torch.relu(x)`` to ``y``, clamped at ``ceiling`` unless that is NaN, and return one
    bit for each value that passes its gradient: those above 0 and below the ceiling, and NaN.

    ``x`` and ``y`` are alike in memory and without gaps, in float32; they may be the same tensor.
    """
    passes = x.new_empty(bytes_for_bits(x.numel()), dtype=torch.uint8)
    _call("rectify", x.data_ptr(), x.numel(), ceiling, y.data_ptr(), passes.data_ptr())
    return passes


def pass_gradient(dy: Tensor, passes: Tensor, dx: Tensor) -> None:
    """Write ``dy`` to ``dx`` where ``passes``, the bits of :func:`rectify`, are set, and 0
    elsewhere; ``dy`` and ``dx`` are as ``x`` and ``y`` there."""
    _call("pass_gradient", dy.data_ptr(), passes.data_ptr(), dy.numel(), dx.data_ptr())


def max_pool(x: Tensor, windows: Windows, y: Tensor, want_positions: bool) -> Tensor | None:
    """Write the largest value of each window of ``x`` to ``y``, and return its position in the
    window, row by row, one byte each; None if that is not requested.

    The first of equal values is the largest, and the last NaN. ``x [images, height, width]`` and
    ``y [images, out_height, out_width]`` are contiguous, in float32; a window has at most 256
    values.
    """
    positions = torch.empty_like(y, dtype=torch.uint8) if want_positions else None
    _call("max_pool", x.data_ptr(), _dims(windows), y.data_ptr(), _at(positions))
    return positions


def max_unpool(dy: Tensor, positions: Tensor, windows: Windows, dx: Tensor) -> None:
    """Write the gradient by ``x`` of :func:`max_pool` to ``dx``, for the gradient ``dy`` by ``y``;
    both as ``x`` and ``y`` there."""
    _call("max_unpool", dy.data_ptr(), positions.data_ptr(), _dims(windows), dx.data_ptr())


def codes_on_grid(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor | None:
    """The codes, int8, of ``x = code * scale + bias``, with a scale and a bias for each column, if
    they give ``x`` again bit for bit; None otherwise.

    All are contiguous, in float32. Each row of ``x`` in memory has as many numbers as ``scale``.
    """
    codes, exact, columns = torch.empty_like(x, dtype=torch.int8), ctypes.c_int(), scale.numel()
    assert bias.numel() == columns
    assert x.numel() % columns == 0
    _call(
        *("codes_on_grid", x.data_ptr(), x.numel() // columns, columns, scale.data_ptr()),
        *(bias.data_ptr(), codes.data_ptr(), ctypes.addressof(exact)),
    )
    return codes if exact.value else None


def values_on_grid(codes: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """The numbers of which :func:`codes_on_grid` returned the codes, in memory that the next call
    overwrites."""
    x, columns = scratch("z", codes.shape), scale.numel()
    _call(
        *("values_on_grid", codes.data_ptr(), x.numel() // columns, columns, scale.data_ptr()),
        *(bias.data_ptr(), x.data_ptr()),
    )
    return x


def fingerprint(values: Tensor) -> int:
    """A 64-bit hash of the bytes of the contiguous ``values``, of any dtype."""
    result = ctypes.c_uint64()
    _call("fingerprint", values.data_ptr(), values.nbytes, ctypes.addressof(result))
    return result.value


# The backward pass of a chip uses the same draws twice.
@lru_cache(maxsize=64)
def _flattened(draws: Draws) -> tuple[object, object, object]:
    """The length of each sum, then the seeds and the sizes of all of them in a row."""
    parts = [part for each in draws for part in each]
    return (
        (_LONG * max(1, len(draws)))(*map(len, draws)),
        (_SEED * max(1, len(parts)))(*[seed for seed, _ in parts]),
        (_FLOAT * max(1, len(parts)))(*[size for _, size in parts]),
    )
