"""CUDA's back end: the converters of an array as Triton kernels, next to its cells.

Functions are documented in :class:`cimsim.kernels.types.Backend`. Noise is drawn inside the kernels
(Philox, by seed and position) and is never written to memory. :mod:`cimsim.kernels.cuda_cells`
programs the cells. Needs the package ``triton``, which comes with torch for CUDA; with
``TRITON_INTERPRET=1`` the kernels run, slowly, on the CPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cimsim.kernels.cuda_cells import program as program
from cimsim.kernels.cuda_cells import vjp_programming as vjp_programming
from cimsim.kernels.cuda_device import on_its_device, or_unread
from cimsim.kernels.cuda_random import eights_from, fill_normal, normals_at
from cimsim.kernels.types import Codes, Dac, Lines, bytes_for_bits

programs = True

_BLOCK = 1024
_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# Kernels have no annotations except tl.constexpr: when it compiles, Triton resolves all others as
# global variables of the kernel and rejects them.


def variance_dtype(products: int) -> torch.dtype:
    """See :meth:`cimsim.kernels.types.Backend.variance_dtype`."""
    return torch.bfloat16


@triton.jit
def _rounded(x):
    return (x + 12582912.0) - 12582912.0  # half to even, of what a converter can hold


@triton.jit
def _clamped(x, low, high):
    below = tl.minimum(x, high * 1.0, propagate_nan=tl.PropagateNan.ALL)  # NaN stays NaN
    return tl.maximum(below, low * 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _inside(v, low, high):
    # By EDGE of circuits/converters.py, which says why.
    return (v >= low * (1.0 + 1.0 / 65536)) & (v <= high * (1.0 + 1.0 / 65536))


@triton.jit
def _encode(
    x,
    codes,
    squares,
    stored,
    mask,
    full,
    levels,
    lowest,
    count,
    SQUARES: tl.constexpr,
    STORED: tl.constexpr,
    MASK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    byte = tl.program_id(0).to(tl.int64) * (BLOCK // 8) + tl.arange(0, BLOCK // 8)
    bit = tl.arange(0, 8)
    i = byte[:, None] * 8 + bit[None, :]
    there = i < count
    v = tl.load(x + i, mask=there, other=0.0).to(tl.float32) / (tl.load(full) / levels)
    code = _rounded(_clamped(v, lowest, levels))
    tl.store(codes + i, code.to(codes.dtype.element_ty), mask=there)
    if SQUARES:
        tl.store(squares + i, (code * code).to(squares.dtype.element_ty), mask=there)
    if STORED:
        tl.store(stored + i, code.to(tl.int32).to(stored.dtype.element_ty), mask=there)
    if MASK:
        inside = (_inside(v, lowest, levels) & there).to(tl.int32)
        packed = tl.sum(inside << bit[None, :], axis=1)
        tl.store(mask + byte, packed.to(tl.uint8), mask=byte * 8 < count)


@triton.jit
def _lines_of(lines, line, BLOCK: tl.constexpr):
    """The place of this program among the lines: the outer part; the bytes of the mask in it; the
    line, the first value, and the place of the values of each byte."""
    line_bytes = (line + 7) // 8
    programs = (lines * line_bytes + BLOCK // 8 - 1) // (BLOCK // 8)
    outer = (tl.program_id(0) // programs).to(tl.int64)
    byte = tl.program_id(0) % programs * (BLOCK // 8) + tl.arange(0, BLOCK // 8)
    own, first = byte // line_bytes, byte % line_bytes * 8
    return outer, byte, own, first, own.to(tl.int64) * line + first


@triton.jit
def _of_columns(values, table, own, lines, i, there, OF_COLUMNS: tl.constexpr):
    """``values`` of the columns, the same for all of a line if a line is of one column."""
    if OF_COLUMNS:
        return tl.load(values + table + i, mask=there, other=1.0)
    else:
        return tl.load(values + table + own, mask=own < lines, other=1.0)[:, None]


@triton.jit
def _noise(seed, base, place, FOURS: tl.constexpr, BLOCK: tl.constexpr):
    """Normal numbers of the values of bytes; ``FOURS`` if lines are multiples of four."""
    first = base + place
    if FOURS:
        return eights_from(seed, first, BLOCK // 8)
    else:
        return normals_at(seed, first[:, None] + tl.arange(0, 8)[None, :])


@triton.jit(do_not_specialize=["cells_seed", "adc_seed"])
def _digitize(
    z,
    variance,
    dac_full,
    adc_full,
    scale,
    bias,
    y,
    mask,
    groups,
    tiles,
    lines,
    line,
    columns,
    dac_levels,
    lowest,
    highest,
    noise_steps,
    cells_seed,
    adc_seed,
    VARIANCE: tl.constexpr,
    DAC: tl.constexpr,
    FULL_DIMS: tl.constexpr,
    BIAS: tl.constexpr,
    MASK: tl.constexpr,
    NOISE: tl.constexpr,
    OF_COLUMNS: tl.constexpr,
    FOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    outer, byte, own, first, place = _lines_of(lines, line, BLOCK)
    bit = tl.arange(0, 8)
    i = first[:, None] + bit[None, :]
    there = (own < lines)[:, None] & (i < line)
    at = place[:, None] + bit[None, :]
    part = tl.cast(lines, tl.int64) * line
    line_bytes = (line + 7) // 8
    total = tl.zeros((BLOCK // 8, 8), dtype=tl.float32)
    for tile in range(tiles):
        table = outer % groups * tiles + tile
        number = outer * tiles + tile
        base = number * part
        if FULL_DIMS == 2:
            full = _of_columns(adc_full, table * columns, own, lines, i, there, OF_COLUMNS)
        elif FULL_DIMS == 1:
            full = tl.load(adc_full + table)
        else:
            full = tl.load(adc_full)
        step = full / highest
        gain = 1.0 / step
        if DAC:
            gain = tl.load(dac_full) / dac_levels / step
        v = tl.load(z + base + at, mask=there, other=0.0).to(tl.float32) * gain
        if VARIANCE:
            sigma2 = tl.load(variance + base + at, mask=there, other=0.0).to(tl.float32)
            sigma = tl.sqrt(tl.where(sigma2 < 0.0, 0.0, sigma2))
            v += _noise(cells_seed, base, place, FOURS, BLOCK) * (sigma * gain)
        if NOISE:
            v += _noise(adc_seed, base, place, FOURS, BLOCK) * noise_steps
        if MASK:
            inside = _inside(v, lowest, highest).to(tl.int32)
            packed = tl.sum(inside << bit[None, :], axis=1)
            to = mask + number * lines * line_bytes + byte
            tl.store(to, packed.to(tl.uint8), mask=own < lines)
        factor = _of_columns(scale, table * columns, own, lines, i, there, OF_COLUMNS)
        total += _rounded(_clamped(v, lowest, highest)) * (factor * step)
    if BIAS:
        total += _of_columns(bias, outer % groups * columns, own, lines, i, there, OF_COLUMNS)
    tl.store(y + outer * part + at, total.to(y.dtype.element_ty), mask=there)


@triton.jit
def _scatter(
    dy,
    mask,
    scale,
    dz,
    groups,
    tiles,
    lines,
    line,
    columns,
    MASK: tl.constexpr,
    SCALE: tl.constexpr,
    OF_COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    outer, byte, own, first, place = _lines_of(lines, line, BLOCK)
    bit = tl.arange(0, 8)
    i = first[:, None] + bit[None, :]
    there = (own < lines)[:, None] & (i < line)
    at = place[:, None] + bit[None, :]
    part = tl.cast(lines, tl.int64) * line
    line_bytes = (line + 7) // 8
    d = tl.load(dy + outer * part + at, mask=there, other=0.0).to(tl.float32)
    for tile in range(tiles):
        number = outer * tiles + tile
        each = d
        if MASK:
            bits = tl.load(mask + number * lines * line_bytes + byte, mask=own < lines, other=0)
            each = tl.where(((bits.to(tl.int32)[:, None] >> bit[None, :]) & 1) != 0, d, 0.0)
        if SCALE:
            table = (outer % groups * tiles + tile) * columns
            each *= _of_columns(scale, table, own, lines, i, there, OF_COLUMNS)
        tl.store(dz + number * part + at, each.to(dz.dtype.element_ty), mask=there)


@triton.jit
def _fingerprint(words, out, count, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(words + i, mask=i < count, other=0).to(tl.int64)
    x = (word + (i + 1) * -7046029254386353131).to(tl.uint64, bitcast=True)
    # The finalizer of SplitMix64: all bits of a word and of its place change all bits of the sum.
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    x = tl.where(i < count, (x ^ (x >> 31)).to(tl.int64, bitcast=True), 0)
    tl.atomic_add(out, tl.sum(x), sem="relaxed")  # modulo 2^64, in any order


@triton.jit
def _mask_gradient(
    dx,
    x,
    mask,
    full,
    levels,
    lowest,
    by_full,
    count,
    MASK: tl.constexpr,
    BY_FULL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = i < count
    d = tl.load(dx + i, mask=there, other=0.0)
    if BY_FULL or not MASK:
        v = tl.load(x + i, mask=there, other=0.0).to(tl.float32) / (tl.load(full) / levels)
    if MASK:
        bits = tl.load(mask + i // 8, mask=there, other=0).to(tl.int32)
        inside = ((bits >> (i % 8).to(tl.int32)) & 1) != 0
    else:
        inside = _inside(v, lowest, levels)
    if BY_FULL:
        slope = (_rounded(_clamped(v, lowest, levels)) - tl.where(inside, v, 0.0)) / levels
        tl.store(by_full + tl.program_id(0), tl.sum(d.to(tl.float32) * slope))
    tl.store(dx + i, tl.where(inside, d, 0.0), mask=there)


@on_its_device
def normal(out: Tensor, seed: int) -> None:
    """See :meth:`cimsim.kernels.types.Backend.normal`."""
    fill_normal[(triton.cdiv(out.numel(), _BLOCK),)](out, seed, out.numel(), BLOCK=_BLOCK)


@on_its_device
def encode(
    x: Tensor,
    dac: Dac,
    dtype: torch.dtype | None = None,
    squares: torch.dtype | None = None,
    want_stored: bool = False,
    want_mask: bool = False,
) -> Codes:
    """See :meth:`cimsim.kernels.types.Backend.encode`."""
    values = torch.empty_like(x, dtype=dtype)
    squared = None if squares is None else torch.empty_like(x, dtype=squares)
    stored = torch.empty_like(x, dtype=dac.byte) if want_stored else None
    mask = x.new_empty(bytes_for_bits(x.numel()), dtype=torch.uint8) if want_mask else None
    _encode[(triton.cdiv(x.numel(), _BLOCK),)](
        *(
            x,
            values,
            or_unread(squared, x),
            or_unread(stored, x),
            or_unread(mask, x),
            dac.full_scale,
            dac.levels,
        ),
        dac.lowest,
        x.numel(),
        SQUARES=squared is not None,
        STORED=want_stored,
        MASK=want_mask,
        BLOCK=_BLOCK,
    )
    return Codes(values, squared, stored, mask)


@on_its_device
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
    grid, numbers, block = _layout(lines)
    full, levels = (adc_full_scale, 1) if dac is None else (dac.full_scale, dac.levels)
    _digitize[grid](
        *(
            z,
            or_unread(variance, z),
            full,
            adc_full_scale,
            scale,
            or_unread(bias, z),
            y,
            or_unread(mask, z),
        ),
        *(*numbers, levels, *codes, noise_steps, *seeds),
        VARIANCE=variance is not None,
        DAC=dac is not None,
        FULL_DIMS=adc_full_scale.dim(),
        BIAS=bias is not None,
        MASK=want_mask,
        NOISE=noise_steps != 0,
        OF_COLUMNS=lines.of_columns,
        FOURS=lines.line % 4 == 0,
        BLOCK=block,
    )
    return mask


@on_its_device
def scatter_to_columns(
    dy: Tensor,
    mask: Tensor | None,
    lines: Lines,
    scale: Tensor | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
) -> Tensor:
    """See :meth:`cimsim.kernels.types.Backend.scatter_to_columns`."""
    dz = dy.new_empty(shape, dtype=dtype)
    grid, numbers, block = _layout(lines)
    _scatter[grid](
        *(dy, or_unread(mask, dy), or_unread(scale, dy), dz, *numbers),
        MASK=mask is not None,
        SCALE=scale is not None,
        OF_COLUMNS=lines.of_columns,
        BLOCK=block,
    )
    return dz


@on_its_device
def mask_gradient(
    dx: Tensor, x: Tensor | None, mask: Tensor | None, dac: Dac, want_range: bool = False
) -> Tensor | None:
    """See :meth:`cimsim.kernels.types.Backend.mask_gradient`."""
    blocks = triton.cdiv(dx.numel(), _BLOCK)
    by_full = dx.new_empty(blocks, dtype=torch.float32) if want_range else None
    _mask_gradient[(blocks,)](
        *(dx, or_unread(x, dx), or_unread(mask, dx), dac.full_scale, dac.levels, dac.lowest),
        *(or_unread(by_full, dx), dx.numel()),
        MASK=mask is not None,
        BY_FULL=want_range,
        BLOCK=_BLOCK,
    )
    return None if by_full is None else by_full.sum()


def fingerprint(values: Tensor) -> int:
    """See :meth:`cimsim.kernels.types.Backend.fingerprint`; waits for the GPU."""
    words = values.view(-1).view(_WORDS[values.element_size()])
    return int(_sum_of_words(words).item()) % 2**64


@on_its_device
def _sum_of_words(words: Tensor) -> Tensor:
    out = words.new_zeros((), dtype=torch.int64)
    if words.numel():
        grid = (triton.cdiv(words.numel(), _BLOCK),)
        _fingerprint[grid](words, out, words.numel(), BLOCK=_BLOCK)
    return out


def _layout(lines: Lines) -> tuple[tuple[int], tuple[int, ...], int]:
    """Grid, the numbers of the layout, and the number of values that a program has of a tile."""
    of_lines = lines.lines * 8 * bytes_for_bits(lines.line)
    block = max(64, min(_BLOCK, triton.next_power_of_2(of_lines)))
    columns = lines.line if lines.of_columns else lines.lines
    grid = (lines.outer * triton.cdiv(of_lines, block),)
    return grid, (lines.groups, lines.tiles, lines.lines, lines.line, columns), block
