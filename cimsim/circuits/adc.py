"""ADC: errors of the readout before conversion, and converters given by tables of thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, singledispatch
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.circuits.converters import Converter, bow_steps
from cimsim.profile import (
    ADC,
    Bow,
    Compression,
    GainError,
    MeasuredError,
    OffsetError,
    PipelineError,
    RampMismatch,
    ReadoutTemperature,
    SarMismatch,
)
from cimsim.sampling import standard_normal
from cimsim.seeds import generator


def adc_converter(adc: ADC) -> Converter | None:
    """Return the converter from values to codes; None if the ADC is ideal."""
    return None if adc.bits is None else Converter(adc.bits, twos_complement=True)


# Errors that differ between ADCs, sampled once per chip.

Column = TypeVar("Column", int, Tensor)


class AdcState(NamedTuple):
    """Static errors of a layer's ADCs; None for errors that the profile does not have.

    Attributes:
        gain: ``1 + error`` of the ADC of each column, ``[tiles, columns]``.
        offset: offset as a fraction of the range, ``[tiles, columns]``.
        thresholds: inputs at which the code changes, ascending, in steps,
            ``[tiles, adcs, 2^bits - 1]``; argument of :func:`looked_up`.
    """

    gain: Tensor | None
    offset: Tensor | None
    thresholds: Tensor | None


def draw_adc(adc: ADC, tile_columns: int, seed: int, like: Tensor) -> AdcState | None:
    """Sample the ADCs of the chip ``seed`` for columns in the shape of ``like [tiles, columns]``;
    None if all ADCs are equal.

    A physical tile has ``tile_columns`` of the columns. An ADC reads ``columns_per_adc``
    neighboring columns; the last ADC of a physical tile reads the rest. Tensors have the dtype and
    device of ``like``.
    """
    shared, (tiles, columns) = adc.columns_per_adc, like.shape
    of_tile = -(-tile_columns // shared)

    def adc_of(column: Column) -> Column:
        return column // tile_columns * of_tile + column % tile_columns // shared

    adcs = adc_of(columns - 1) + 1
    equal = columns % shared == 0 and (columns <= tile_columns or tile_columns % shared == 0)

    def per_column(values: Tensor) -> Tensor:
        return values[:, adc_of(torch.arange(columns, device=like.device))]

    gain = offset = thresholds = None
    for index, effect in enumerate(adc.errors):
        if adc.bits is None or not effect.strength or not effect.random:
            continue
        if isinstance(effect, MeasuredError):  # new for every read
            continue
        draws = generator(seed, "adc", index, device=like.device)
        xi = partial(_normal, like, (tiles, adcs), draws)
        if isinstance(effect, GainError):
            gain = per_column(1.0 + effect.strength * effect.sigma * xi())
        elif isinstance(effect, OffsetError):
            offset = per_column(effect.strength * effect.sigma_of_range * xi())
        else:
            thresholds = code_edges(effect, adc.bits, xi)
            # Groups of unequal size: repeat the table of an ADC for each of its columns.
            thresholds = thresholds if equal else per_column(thresholds)
    if gain is None and offset is None and thresholds is None:
        return None
    return AdcState(gain, offset, thresholds)


def _normal(like: Tensor, shape: tuple[int, ...], draws: torch.Generator, *more: int) -> Tensor:
    return standard_normal(like, draws, (*shape, *more))


# Errors of the readout, before the conversion.

Noise = Callable[[int, Tensor], Tensor]

_TABLES = (SarMismatch, RampMismatch, PipelineError)


def distorts(adc: ADC) -> bool:
    """Whether :func:`distorted` changes anything."""
    return any(effect.strength and not isinstance(effect, _TABLES) for effect in adc.errors)


def distorted(
    z: Tensor,
    adc: ADC,
    levels: int,
    gain: Tensor | None,
    offset: Tensor | None,
    temperature_C: float,
    noise: Noise | None = None,
) -> Tensor:
    """Apply the errors of the readout to ``z`` in ADC steps, in the order of ``adc.errors``.

    May overwrite ``z``, and returns ``z`` itself without errors. Errors of the architecture are not
    applied here but in the conversion; see :func:`looked_up`.

    Args:
        z: tensor of any shape; ``z / levels`` is the value over the range.
        adc: profile of the converters.
        levels: number of codes above zero.
        gain, offset: see :class:`AdcState`; their shapes must broadcast to that of ``z``.
        temperature_C: operating temperature of the chip.
        noise: ``noise(index, z)`` samples N(0, 1) in the shape of ``z`` for the error of that index
            in ``adc.errors``; None leaves out what differs from read to read.
    """
    columns = _Columns(levels, gain, offset, temperature_C)
    for index, effect in enumerate(adc.errors):
        if effect.strength and not isinstance(effect, _TABLES):
            own = None if noise is None else partial(noise, index)
            z = _with_error(effect, z, columns._replace(noise=own))
    return z


class _Columns(NamedTuple):
    """The arguments of :func:`distorted`."""

    levels: int
    gain: Tensor | None
    offset: Tensor | None
    temperature_C: float
    noise: Callable[[Tensor], Tensor] | None = None


@singledispatch
def _with_error(effect: object, z: Tensor, columns: _Columns) -> Tensor:
    """Apply one error of the readout to ``z``, in place."""
    raise NotImplementedError(f"no circuit for ADC error {type(effect).__name__}")


@_with_error.register
def _(effect: GainError, z: Tensor, columns: _Columns) -> Tensor:
    assert columns.gain is not None
    return z.mul_(columns.gain)


@_with_error.register
def _(effect: OffsetError, z: Tensor, columns: _Columns) -> Tensor:
    assert columns.offset is not None
    return z.add_(columns.offset, alpha=columns.levels)


@_with_error.register
def _(effect: Bow, z: Tensor, columns: _Columns) -> Tensor:
    return z.add_(bow_steps(effect, z, columns.levels))


@_with_error.register
def _(effect: Compression, z: Tensor, columns: _Columns) -> Tensor:
    # Not in place, since the derivative of the magnitude needs z.
    return z / z.abs().mul(effect.strength * effect.n / columns.levels).add_(1.0)


@_with_error.register
def _(effect: ReadoutTemperature, z: Tensor, columns: _Columns) -> Tensor:
    warmer_K = effect.strength * (columns.temperature_C - effect.reference_C)
    z = z.mul_(1.0 + effect.gain_per_K * warmer_K)
    return z.add_(effect.offset_of_range_per_K * warmer_K * columns.levels)


@_with_error.register
def _(effect: MeasuredError, z: Tensor, columns: _Columns) -> Tensor:
    u = z / columns.levels
    error = between_points(u, effect.ideal_of_range, effect.mean_error_of_range)
    if columns.noise is not None and effect.spread_strength:
        spread = between_points(u, effect.ideal_of_range, effect.spread_of_range)
        error = error + spread * columns.noise(u) * effect.spread_strength
    return z + error * (effect.strength * columns.levels)


def between_points(u: Tensor, points: Sequence[float], values: Sequence[float]) -> Tensor:
    """Return ``values`` at ``u``: linear between the ascending ``points``, constant beyond them.

    Differentiable by ``u``, in its shape; NaN is kept.
    """
    x, y = u.new_tensor(points), u.new_tensor(values)
    slopes = y.diff() / x.diff()
    inner = u.clamp(points[0], points[-1])
    below = torch.bucketize(inner.detach(), x[1:-1].contiguous())
    return y[below] + slopes[below] * (inner - x[below])


# The conversion by a table for each ADC, unless it is plain rounding.


def looked_up(z: Tensor, thresholds: Tensor, lowest: int) -> Tensor:
    """Return ``lowest`` plus the number of thresholds below ``z``, by binary search; keep NaN.

    A value equal to a threshold gets the lower code; the plain converter rounds half to even.

    Args:
        z: ``[tiles, columns, vectors]`` in steps.
        thresholds: ``[tiles, adcs, codes - 1]``, ascending; each ADC converts a group of
            neighboring columns, all of equal size.
        lowest: lowest code.

    Returns:
        Codes as integer-valued floats, in the shape of ``z``.
    """
    tiles, adcs, _ = thresholds.shape
    by_adc = z.reshape(tiles, adcs, -1).contiguous()
    below = torch.searchsorted(thresholds.contiguous(), by_adc, out_int32=True).view(z.shape)
    return torch.where(z.isnan(), z, below.to(z.dtype).add_(lowest))


@singledispatch
def code_edges(effect: object, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    """Return the inputs in steps at which the code changes, ``[..., 2^bits - 1]``, ascending.

    ``xi(n)`` samples ``n`` numbers from N(0, 1) for each ADC, ``[..., n]``; if all of them are 0,
    the edges are exactly halfway between the codes. A missing code has two equal edges.
    """
    raise NotImplementedError(f"no circuit for ADC error {type(effect).__name__}")


@code_edges.register
def _(effect: SarMismatch, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    xi_k = xi(bits)
    nominal = torch.arange(bits, dtype=xi_k.dtype, device=xi_k.device).exp2()
    sigma = effect.strength * effect.sigma_unit * nominal.sqrt()
    return sar_edges((nominal + sigma * xi_k).clamp_min_(0.0))


@code_edges.register
def _(effect: RampMismatch, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    sigma = effect.strength * effect.sigma_step
    return ramp_edges(xi(1 << bits).mul_(sigma).add_(1.0).clamp_min_(0.0))


@code_edges.register
def _(effect: PipelineError, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    sigma = effect.strength * effect.sigma_gain
    return pipeline_edges(xi(bits - 1).mul_(sigma).add_(1.0).clamp_min_(_LEAST_GAIN) * 2.0)


_LEAST_GAIN = 0.01  # keeps the gain of an amplifier positive


def sar_edges(capacitors: Tensor) -> Tensor:
    """Return the edges of a successive approximation with ``capacitors [..., bits]``, LSB first.

    The trial of a code compares the input with ``2^bits * (capacitors of its set bits) / (sum of
    all + 1)``; the 1 is the dummy capacitor that terminates the array, so that mismatch bends the
    characteristic without stretching it. A trial decides only among the inputs that reach it. The
    edge at its code is therefore its level, clamped between the neighboring edges of earlier
    trials; if the level is beyond these, codes are missing.
    """
    bits = capacitors.shape[-1]
    weights = capacitors * ((1 << bits) / (capacitors.sum(-1, keepdim=True) + 1.0))
    edges = torch.zeros_like(weights[..., :1])
    for bit in range(bits):  # levels of the trials of all codes
        edges = torch.cat((edges, edges + weights[..., bit : bit + 1]), dim=-1)
    for bit in reversed(range(bits)):
        stride = 2 << bit
        trial = edges[..., stride // 2 :: stride]
        trial.copy_(torch.maximum(trial, edges[..., ::stride]))
        above = edges[..., stride::stride]  # the last trial has none
        trial[..., : above.shape[-1]].clamp_max_(above)
    return edges[..., 1:] - ((1 << (bits - 1)) + 0.5)


def ramp_edges(steps: Tensor) -> Tensor:
    """Return the edges of a ramp with ``steps [..., 2^bits]``.

    The steps are scaled so that they span the range from the lower end of the lowest code to the
    upper end of the highest code.
    """
    codes = steps.shape[-1]
    total = steps.sum(-1, keepdim=True)
    edges = steps.cumsum(-1) * (codes / total)
    return edges[..., :-1] - (codes / 2 + 0.5)


def pipeline_edges(gains: Tensor) -> Tensor:
    """Return the edges of a pipeline of 1.5-bit stages with residue ``gains [..., bits - 1]``.

    Gains are ordered from first to last stage. A stage decides ``d`` in {-1, 0, 1} with thresholds
    at ±1/4 of its reference and passes on ``gain * (r - d/2)``; the last residue is rounded to -1,
    0 or 1. With the binary-weighted sum of ``d`` clipped to the existing codes, this is
    ``round(r * 2^(bits-1))`` for gains of 2.

    With a gain above 2 the code decreases where ``d`` changes, which a table of edges cannot
    represent. The edges are then those of a code density test: the share of inputs below the edge
    of a code is the share that gives smaller codes.
    """
    first = gains[..., :1]
    edges = torch.cat((torch.full_like(first, -0.5), torch.full_like(first, 0.5)), dim=-1)
    for stage in reversed(range(gains.shape[-1])):
        gain = gains[..., stage : stage + 1]
        half = edges.shape[-1] // 2
        # For each decision, the residue at which the sum reaches an edge (infinite beyond all
        # residues); then the part of the input below it, within the interval of that decision.
        low = F.pad(edges, (0, 2 * half), value=torch.inf) / gain - 0.5
        middle = F.pad(F.pad(edges, (half, 0), value=-torch.inf), (0, half), value=torch.inf) / gain
        high = F.pad(edges, (2 * half, 0), value=-torch.inf) / gain + 0.5
        edges = low.clamp_max_(-0.25) + middle.clamp_(-0.25, 0.25) + high.clamp_min_(0.25)
    # Half the table's length is 2^(bits-1); its last edge belongs to a code that is clipped.
    return edges[..., :-1] * (edges.shape[-1] / 2)
