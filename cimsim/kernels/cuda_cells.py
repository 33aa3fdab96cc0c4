"""CUDA's back end: the cells of an array as Triton kernels, one program for each column.

``program`` and ``vjp_programming`` are documented in
:class:`cimsim.kernels.types.ProgrammingBackend`. Which effects and curves a profile has is constant
in a kernel, so each profile compiles its own; the numbers of the effects are data.
:mod:`cimsim.kernels.packing` documents the physics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from cimsim.kernels.cuda_device import on_its_device, or_unread
from cimsim.kernels.cuda_random import normals_from
from cimsim.kernels.packing import (
    PackedCurve,
    PackedDrift,
    PackedPhysics,
    PackedProgramming,
    PackedRead,
)
from cimsim.kernels.types import Cells, Compensation, Dac, Draws

_BLOCK = 1024
_PIECEWISE = 6

# As in cuda.py, kernels have no annotations except tl.constexpr. PLAN is the physics in whole
# numbers, one record after the other. A curve is (place of its numbers, kind, how many) and, if it
# is piecewise, the same of both of its parts. A change is (kind, place of its numbers), the curves
# of its mean at two times and the curves of its spread at two times. A read noise is (what its
# spread depends on, place of its numbers), a curve.
_CURVE = tl.constexpr(9)
_CHANGE = tl.constexpr(2 + 4 * 9)
_READ = tl.constexpr(2 + 9)
_NO_PARTS = (0,) * 6
Record: TypeAlias = tuple[int, ...]


@triton.jit
def _polynomial(p, COUNT: tl.constexpr, x, dx):
    value, slope = tl.load(p + COUNT - 1) + x * 0.0, x * 0.0
    for k in tl.static_range(1, COUNT):
        slope = slope * x + value * dx
        value = value * x + tl.load(p + COUNT - 1 - k)
    return value, slope


@triton.jit
def _simple_curve(p, KIND: tl.constexpr, COUNT: tl.constexpr, r, dr):
    if KIND == 0:
        return _polynomial(p, COUNT, r, dr)
    elif KIND == 4:  # saturating: amplitude, -1 / scale
        rising = tl.exp(r * tl.load(p + 1))
        amplitude = -tl.load(p)
        return (rising - 1.0) * amplitude, rising * (dr * tl.load(p + 1)) * amplitude
    elif KIND == 7:  # magnitude; its derivative at 0 is 0, the mean of those on both sides
        return tl.abs(r), tl.where(r == 0.0, 0.0, tl.where(r < 0.0, -dr, dr))
    elif KIND == 5:  # table: r, value, slope to the next, for each point
        value, slope = tl.load(p + 1) + r * 0.0, r * 0.0
        for k in tl.static_range(0, COUNT, 3):
            beyond = r >= tl.load(p + k)
            steep = tl.load(p + k + 2)
            value = tl.where(beyond, (r - tl.load(p + k)) * steep + tl.load(p + k + 1), value)
            slope = tl.where(beyond, dr * steep, slope)
        return value, slope
    else:
        small = r < 1e-7
        at = tl.log(tl.where(small, 1e-7, r))
        d_at = tl.where(small, 0.0, dr / r)
        if KIND == 3:  # polynomial of the decimal logarithm
            return _polynomial(p, COUNT, at * 0.43429448190325, d_at * 0.43429448190325)
        elif KIND == 1:  # clipped logarithm: slope, intercept, min, max
            value = at * tl.load(p) + tl.load(p + 1)
            slope = d_at * tl.load(p)
            low, high = value < tl.load(p + 2), value > tl.load(p + 3)
            value = tl.where(low, tl.load(p + 2), tl.where(high, tl.load(p + 3), value))
            return value, tl.where(low | high, 0.0, slope)
        else:  # capped power: coefficient, exponent, ln(max / coefficient)
            exponent = at * tl.load(p + 1)
            capped = exponent > tl.load(p + 2)
            value = tl.exp(tl.where(capped, tl.load(p + 2), exponent)) * tl.load(p)
            return value, value * tl.where(capped, 0.0, d_at * tl.load(p + 1))


@triton.jit
def _curve(p, PLAN: tl.constexpr, AT: tl.constexpr, r, dr):
    if PLAN[AT + 1] == 6:
        below, d_below = _simple_curve(p + PLAN[AT + 3], PLAN[AT + 4], PLAN[AT + 5], r, dr)
        above, d_above = _simple_curve(p + PLAN[AT + 6], PLAN[AT + 7], PLAN[AT + 8], r, dr)
        first = r < tl.load(p + PLAN[AT])
        return tl.where(first, below, above), tl.where(first, d_below, d_above)
    else:
        return _simple_curve(p + PLAN[AT], PLAN[AT + 1], PLAN[AT + 2], r, dr)


@triton.jit
def _between(p, PLAN: tl.constexpr, AT: tl.constexpr, share, r, dr):
    low, d_low = _curve(p, PLAN, AT, r, dr)
    if PLAN[AT] != PLAN[AT + _CURVE]:
        high, d_high = _curve(p, PLAN, AT + _CURVE, r, dr)
        low += (high - low) * share
        d_low += (d_high - d_low) * share
    return low, d_low


@triton.jit
def _positive(value, slope):
    return tl.where(value < 0.0, 0.0, value), tl.where(value < 0.0, 0.0, slope)


@triton.jit
def _drawn(starts, seeds, sizes, DRAW: tl.constexpr, at, FOURS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums of normal numbers of ``BLOCK`` cells from cell ``at`` on."""
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for part in range(tl.load(starts + DRAW), tl.load(starts + DRAW + 1)):
        total += tl.load(sizes + part) * normals_from(tl.load(seeds + part), at, BLOCK, FOURS)
    return total


@triton.jit
def _pair(
    starts,
    seeds,
    sizes,
    DRAW: tl.constexpr,
    at,
    second,
    cells,
    PAIRED: tl.constexpr,
    FOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Numbers of the cell that carries the weight and of the other one of its pair."""
    a = _drawn(starts, seeds, sizes, DRAW, at, FOURS, BLOCK)
    if PAIRED:
        b = _drawn(starts, seeds, sizes, DRAW, at + cells, FOURS, BLOCK)
        return tl.where(second, b, a), tl.where(second, a, b)
    else:
        return a, a


@triton.jit
def _bounded(g, d_g, low, high):
    outside = (g < low) | (g > high)
    return tl.where(g < low, low, tl.where(g > high, high, g)), tl.where(outside, 0.0, d_g)


@triton.jit
def _changed(p, PLAN: tl.constexpr, AT: tl.constexpr, g, d_g, target, d_target, xi):
    """Conductance after one programming noise or drift, and its slope by the relative weight."""
    numbers = p + PLAN[AT + 1]
    r, d_r = target * tl.load(numbers), d_target * tl.load(numbers)
    share = tl.load(numbers + 3)
    mean, d_mean = _between(p, PLAN, AT + 2, share, r, d_r)
    spread, d_spread = _between(p, PLAN, AT + 2 + 2 * _CURVE, share, r, d_r)
    if PLAN[AT] != 1:
        spread, d_spread = _positive(spread, d_spread)
    by = mean * tl.load(numbers + 1) + spread * tl.load(numbers + 2) * xi
    d_by = d_mean * tl.load(numbers + 1) + d_spread * tl.load(numbers + 2) * xi
    if PLAN[AT] == 1:  # power law
        kept = tl.exp(tl.abs(by) * -share)
        d_by = tl.where(by < 0.0, -d_by, d_by)
        return g * kept, d_g * kept - g * kept * share * d_by
    else:
        return g + by, d_g + d_by


@triton.jit
def _spread(p, PLAN: tl.constexpr, AT: tl.constexpr, target, g):
    """Spread of the read noise of a cell."""
    numbers = p + PLAN[AT + 1]
    if PLAN[AT] & 1:  # of the target
        r = target * tl.load(numbers)
    else:
        r = g * tl.load(numbers)
    value, _ = _curve(p, PLAN, AT + 2, r, r)
    value = tl.where(value < 0.0, 0.0, value) * tl.load(numbers + 1)
    if PLAN[AT] & 2:  # times the conductance
        value *= g
    return value


@triton.jit
def _programmed(
    r,
    p,
    starts,
    seeds,
    sizes,
    at,
    cells,
    PLAN: tl.constexpr,
    PAIRED: tl.constexpr,
    WRITES: tl.constexpr,
    DRIFTS: tl.constexpr,
    READS: tl.constexpr,
    FOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Of ``BLOCK`` cells from cell ``at`` on: relative currents, their slopes, absolute values
    before and after drift, variances."""
    offset, g_min, span = tl.load(p), tl.load(p + 1), tl.load(p + 2)
    floor, ceiling = tl.load(p + 3), tl.load(p + 4)
    negative = r < 0.0
    if PAIRED:
        unit = span
        target = tl.abs(r) * span + g_min
        d_target = tl.where(negative, -span, span)
    else:
        unit = span / 2
        target = (r + 1.0) * unit + g_min
        d_target = unit + r * 0.0
    g, d_g = target, d_target
    # The other cell of a pair, and its slope if it carried the weight.
    lowest, d_lowest = g_min + r * 0.0, span + r * 0.0
    rest, d_rest = lowest, d_lowest
    for i in tl.static_range(WRITES):
        xi, xi_rest = _pair(starts, seeds, sizes, i, at, negative, cells, PAIRED, FOURS, BLOCK)
        g, d_g = _changed(p, PLAN, i * _CHANGE, g, d_g, target, d_target, xi)
        rest, d_rest = _changed(p, PLAN, i * _CHANGE, rest, d_rest, lowest, d_lowest, xi_rest)
    if WRITES > 0:
        g, d_g = _bounded(g, d_g, floor, ceiling)
        rest, d_rest = _bounded(rest, d_rest, floor, ceiling)
    if PAIRED:
        before = tl.abs(g - rest) / unit
    else:
        before = tl.abs(g - (g_min + unit)) / unit
    for i in tl.static_range(DRIFTS):
        DRIFT: tl.constexpr = WRITES + i
        xi, xi_rest = _pair(starts, seeds, sizes, DRIFT, at, negative, cells, PAIRED, FOURS, BLOCK)
        g, d_g = _changed(p, PLAN, DRIFT * _CHANGE, g, d_g, target, d_target, xi)
        rest, d_rest = _changed(p, PLAN, DRIFT * _CHANGE, rest, d_rest, lowest, d_lowest, xi_rest)
    if DRIFTS > 0:
        g, d_g = _bounded(g, d_g, floor, ceiling)
        rest, d_rest = _bounded(rest, d_rest, floor, ceiling)
    if PAIRED:
        relative = (g - rest) / unit
        now = tl.abs(relative)
        relative = tl.where(negative, -relative, relative)
        # At 0 either cell may carry the weight: the mean of the slopes on both sides.
        d_g = tl.where(r == 0.0, (d_g + d_rest) * 0.5, tl.where(negative, -d_g, d_g))
        slope = d_g / unit
    else:
        relative = g / unit - offset
        now = tl.abs(g - (g_min + unit)) / unit
        slope = d_g / unit
    variance = r * 0.0
    for i in tl.static_range(READS):
        AT: tl.constexpr = (WRITES + DRIFTS) * _CHANGE + i * _READ
        own = _spread(p, PLAN, AT, target, g)
        own = own * own
        if PAIRED:
            other = _spread(p, PLAN, AT, lowest, rest)
            own += other * other
        variance += own * (tl.load(p + PLAN[AT + 1] + 2) / (unit * unit))
        xi = _drawn(starts, seeds, sizes, WRITES + DRIFTS + i, at, FOURS, BLOCK)
        relative += tl.sqrt(own) * xi / unit
    return relative, slope, before, now, variance


@triton.jit
def _largest(w, rows, BLOCK: tl.constexpr):
    """Largest size of a column's weights, at least 1e-30; NaN if one of them is."""
    largest, missing = 1e-30, 0
    for start in range(0, rows, BLOCK):
        row = start + tl.arange(0, BLOCK)
        each = tl.load(w + row, mask=row < rows, other=0.0)
        largest = tl.maximum(largest, tl.max(tl.abs(each)))
        missing = tl.maximum(missing, tl.max((each != each).to(tl.int32)))
    return tl.where(missing > 0, float("nan"), largest)


@triton.jit
def _program(
    weight,
    scale,
    p,
    starts,
    seeds,
    sizes,
    relative,
    slope,
    variance,
    sums,
    columns,
    rows,
    tile_stride,
    column_stride,
    cells,
    FIND_SCALE: tl.constexpr,
    PLAN: tl.constexpr,
    PAIRED: tl.constexpr,
    WRITES: tl.constexpr,
    DRIFTS: tl.constexpr,
    READS: tl.constexpr,
    SLOPE: tl.constexpr,
    SUMS: tl.constexpr,
    FOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0).to(tl.int64)
    w = weight + c // columns * tile_stride + c % columns * column_stride
    if FIND_SCALE:
        full = _largest(w, rows, BLOCK)
        tl.store(scale + c, full)
    else:
        full = tl.load(scale + c)
    sum_before, sum_now = 0.0, 0.0
    for start in range(0, rows, BLOCK):
        row = start + tl.arange(0, BLOCK)
        there = row < rows
        at = c * rows + row
        value, steep, before, now, noise = _programmed(
            tl.load(w + row, mask=there, other=0.0) / full,
            p,
            starts,
            seeds,
            sizes,
            c * rows + start,
            cells,
            PLAN,
            PAIRED,
            WRITES,
            DRIFTS,
            READS,
            FOURS,
            BLOCK,
        )
        tl.store(relative + at, value, mask=there)
        if SLOPE:
            tl.store(slope + at, steep, mask=there)
        if READS > 0:
            tl.store(variance + at, noise.to(variance.dtype.element_ty), mask=there)
        if SUMS:
            sum_before += tl.sum(tl.where(there, before, 0.0))
            sum_now += tl.sum(tl.where(there, now, 0.0))
    if SUMS:
        tl.store(sums + c, sum_before)
        tl.store(sums + tl.num_programs(0) + c, sum_now)


@triton.jit
def _vjp_programming(
    weight,
    scale,
    p,
    starts,
    seeds,
    sizes,
    relative,
    slope,
    gradient,
    dac_full,
    dac_levels,
    out,
    columns,
    rows,
    tile_stride,
    column_stride,
    cells,
    CELLS: tl.constexpr,
    DAC: tl.constexpr,
    PLAN: tl.constexpr,
    PAIRED: tl.constexpr,
    WRITES: tl.constexpr,
    DRIFTS: tl.constexpr,
    FOURS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0).to(tl.int64)
    place = c // columns * tile_stride + c % columns * column_stride
    w, to = weight + place, out + place
    if CELLS:
        full = tl.load(scale + c)
    else:
        full = _largest(w, rows, BLOCK)
    factor = 1.0
    if DAC:
        factor = tl.load(dac_full) / dac_levels
    factor /= full
    through_scale, ties = 0.0, 0
    for start in range(0, rows, BLOCK):
        row = start + tl.arange(0, BLOCK)
        there = row < rows
        at = c * rows + row
        own = tl.load(w + row, mask=there, other=0.0)
        r = own / full
        if CELLS:
            value = tl.load(relative + at, mask=there, other=0.0)
            steep = tl.load(slope + at, mask=there, other=0.0)
        else:
            value, steep, _, _, _ = _programmed(
                r,
                p,
                starts,
                seeds,
                sizes,
                c * rows + start,
                cells,
                PLAN,
                PAIRED,
                WRITES,
                DRIFTS,
                0,
                FOURS,
                BLOCK,
            )
        d = tl.load(gradient + at, mask=there, other=0.0).to(tl.float32)
        through_scale += tl.sum(tl.where(d != 0.0, d * (value - r * steep), 0.0))
        ties += tl.sum(((tl.abs(own) == full) & there).to(tl.int32))
        tl.store(to + row, d * steep * factor, mask=there)
    share = through_scale * factor / tl.maximum(ties, 1)
    tl.debug_barrier()  # what the other threads of this program wrote is read below
    for start in range(0, rows, BLOCK):
        row = start + tl.arange(0, BLOCK)
        own = tl.load(w + row, mask=row < rows, other=0.0)
        holds = (tl.abs(own) == full) & (row < rows)
        before = tl.load(to + row, mask=holds, other=0.0)
        tl.store(to + row, before + tl.where(own < 0.0, -share, share), mask=holds)


class _Physics:
    """The physics at one age: its numbers, the plan of them, and the draws that it uses."""

    def __init__(self, packed: PackedPhysics, age_s: float) -> None:
        bounds = (packed.g_min_uS, packed.span_uS, packed.floor_uS, packed.ceiling_uS)
        self.numbers = [packed.offset, *bounds]
        aging = [i for i, e in enumerate(packed.drift) if not e.power_law or age_s > 0]
        records = [
            *(self._programming(e) for e in packed.programming),
            *(self._drift(packed.drift[i], age_s) for i in aging),
            *(self._read(e, age_s) for e in packed.read),
        ]
        self.plan = tuple(number for record in records for number in record)
        self.counts = {"WRITES": len(packed.programming), "DRIFTS": len(aging)}
        self.reads = len(packed.read)
        drifts, reads = len(packed.programming), len(packed.programming) + len(packed.drift)
        self.draws = (
            *range(drifts),
            *(drifts + i for i in aging),
            *range(reads, reads + self.reads),
        )

    def _row(self, *numbers: float) -> int:
        self.numbers += numbers
        return len(self.numbers) - len(numbers)

    def _curve(self, curve: PackedCurve) -> Record:
        if curve.kind != _PIECEWISE:
            return (*self._simple(curve.kind, curve.numbers), *_NO_PARTS)
        at, *rest = curve.numbers
        length = int(rest[0])
        parts = (rest[:length], rest[length:])
        described = [self._simple(int(part[1]), part[2:]) for part in parts]
        return (self._row(at), curve.kind, 0, *described[0], *described[1])

    def _simple(self, kind: int, numbers: Sequence[float]) -> Record:
        return self._row(*numbers), kind, len(numbers)

    def _curves(self, low: PackedCurve, high: PackedCurve) -> Record:
        first = self._curve(low)
        return first + (first if high is low else self._curve(high))

    def _programming(self, e: PackedProgramming) -> Record:
        place = self._row(e.per_uS, e.bias, e.sigma, 0.0)
        bias, sigma = e.bias_curve, e.sigma_curve
        return (0, place, *self._curves(bias, bias), *self._curves(sigma, sigma))

    def _drift(self, e: PackedDrift, age_s: float) -> Record:
        after = sum(time_s <= age_s for time_s in e.times_s)
        high, low = min(after, len(e.times_s) - 1), max(after - 1, 0)
        elapsed = 0.0
        if e.power_law:
            elapsed = math.log1p(age_s / e.times_s[0])
        elif low != high:
            elapsed = math.log(age_s / e.times_s[low]) / math.log(e.times_s[high] / e.times_s[low])
        means, spreads = e.mean_curves, e.spread_curves
        place = self._row(e.per_uS, e.mean, e.spread, elapsed)
        curves = (
            *self._curves(means[low], means[high]),
            *self._curves(spreads[low], spreads[high]),
        )
        return (int(e.power_law), place, *curves)

    def _read(self, e: PackedRead, age_s: float) -> Record:
        growth = 1.0
        if e.read_s > 0:
            time_s = min(age_s + e.before_s, e.session_s)
            growth = max(0.0, math.log((time_s + e.read_s) / (2 * e.read_s)))
        place = self._row(e.per_uS, e.size, growth)
        return (e.of_target + 2 * e.times_g, place, *self._curve(e.curve))


@lru_cache(maxsize=128)
def _physics(packed: PackedPhysics, age_s: float) -> _Physics:
    return _Physics(packed, age_s)


def _on_device(physics: _Physics, draws: Draws, device: torch.device) -> tuple[Tensor, ...]:
    """Numbers of the physics; where each draw starts, seeds, sizes: parts of one copy."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    return _copied(physics, draws, device, stream)


# The backward pass of a layer programs its cells and then differentiates them. Nothing waits for
# the copy, so it is used on the stream that it was made on.
@lru_cache(maxsize=64)
def _copied(
    physics: _Physics, draws: Draws, device: torch.device, stream: int
) -> tuple[Tensor, ...]:
    used = [draws[i] if i < len(draws) else () for i in physics.draws]
    starts, seeds, sizes = [0], [0], [0.0]
    for parts in used:
        for seed, size in parts:
            seeds.append(_signed(seed))
            sizes.append(size)
        starts.append(starts[-1] + len(parts))
    starts = [1 + start for start in starts]
    # All addresses are multiples of 16 bytes: for others, Triton compiles another kernel.
    numbers = physics.numbers + [0.0] * (-len(physics.numbers) % 4)
    seeds += [0] * (len(seeds) % 2)
    starts += [0] * (len(starts) % 2)
    floats = [*numbers, *sizes, *[0.0] * (len(sizes) % 2)]
    words = torch.tensor([*seeds, *starts], dtype=torch.int64, device="cpu")
    others = torch.tensor(floats, dtype=torch.float32, device="cpu")
    packed = torch.cat([words, others.view(torch.int64)])
    both = packed.to(device, non_blocking=True)
    whole, floating = both[: len(words)], both[len(words) :].view(torch.float32)
    return floating, whole[len(seeds) :], whole, floating[len(numbers) :]


def _signed(seed: int) -> int:
    return seed - (1 << 64) if seed >= 1 << 63 else seed


@on_its_device
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
    physics = _physics(packed, age_s)
    find_scale = scale is None
    scale = weight.new_empty(tiles, columns) if scale is None else scale.contiguous()
    relative = weight.new_empty(weight.shape)
    slope = torch.empty_like(relative) if want_slope else None
    reads = 0 if want_slope else physics.reads
    variance = torch.empty_like(relative, dtype=torch.bfloat16) if reads else None
    compensates = packed.drifts and compensation != "none"
    sums = weight.new_empty(2, tiles, columns, dtype=torch.float64) if compensates else None
    _program[(tiles * columns,)](
        *(weight, scale, *_on_device(physics, draws, weight.device), relative),
        *(or_unread(slope, weight), or_unread(variance, weight), or_unread(sums, weight)),
        *(columns, rows, *weight.stride()[:2], weight.numel()),
        FIND_SCALE=find_scale,
        PLAN=physics.plan,
        PAIRED=packed.paired,
        **physics.counts,
        READS=reads,
        SLOPE=want_slope,
        SUMS=sums is not None,
        FOURS=rows % 4 == 0,
        BLOCK=_block(rows),
    )
    if sums is not None:
        before, now = sums.sum((1, 2)) if compensation == "global" else sums
        factor = before / now.clamp_min(torch.finfo(torch.float32).tiny)
        scale = scale * factor.to(scale.dtype)
    return Cells(relative, scale, slope, variance)


@on_its_device
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
    physics = _physics(packed, age_s)
    scale = relative = slope = None
    if cells is not None:
        scale, relative, slope = cells.scale, cells.relative, cells.slope
    full, levels = (None, 1) if dac is None else (dac.full_scale, dac.levels)
    _vjp_programming[(tiles * columns,)](
        *(weight, or_unread(scale, weight), *_on_device(physics, draws, weight.device)),
        *(
            or_unread(relative, weight),
            or_unread(slope, weight),
            gradient,
            or_unread(full, weight),
            levels,
            out,
        ),
        *(columns, rows, *weight.stride()[:2], weight.numel()),
        CELLS=cells is not None,
        DAC=dac is not None,
        PLAN=physics.plan,
        PAIRED=packed.paired,
        **physics.counts,
        FOURS=rows % 4 == 0,
        BLOCK=_block(rows),
    )


def _block(rows: int) -> int:
    return max(16, min(_BLOCK, 1 << (rows - 1).bit_length()))
