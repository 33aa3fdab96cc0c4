"""ADC: errors of the read-out before conversion, and converters that are tables of thresholds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.circuits.converters import Converter, bow_steps
from cimsim.profile import (
    ADC,
    Bow,
    Compression,
    GainError,
    OffsetError,
    PipelineError,
    RampMismatch,
    ReadoutTemperature,
    SarMismatch,
)
from cimsim.seeds import generator


def adc_converter(adc: ADC) -> Converter | None:
    """The converter from values to codes; None if the ADC is ideal."""
    return None if adc.bits is None else Converter(adc.bits, twos_complement=True)


# What differs from ADC to ADC: drawn once per chip.


class AdcState(NamedTuple):
    """Static errors of a layer's ADCs; None for those that there are not.

    Attributes:
        gain: ``1 + error`` of the ADC that reads a column, ``[tiles, columns]``.
        offset: as a fraction of the range, ``[tiles, columns]``.
        thresholds: inputs at which the code changes, ascending, in steps,
            ``[tiles, adcs, 2^bits - 1]``; what :func:`looked_up` takes.
    """

    gain: Tensor | None
    offset: Tensor | None
    thresholds: Tensor | None


def draw_adc(adc: ADC, tiles: int, columns: int, seed: int, like: Tensor) -> AdcState | None:
    """The ADCs of the chip named by ``seed``; None if they are all alike.

    An ADC reads ``columns_per_adc`` neighbouring columns, the last of a tile what is left. Tensors
    have the dtype and device of ``like``.
    """
    shared = adc.columns_per_adc
    adcs = -(-columns // shared)

    def per_column(values: Tensor) -> Tensor:
        return values.repeat_interleave(shared, dim=1)[:, :columns].contiguous()

    gain = offset = thresholds = None
    for index, effect in enumerate(adc.errors):
        if adc.bits is None or not effect.strength or not effect.random:
            continue
        draws = generator(seed, "adc", index, device=like.device)
        xi = partial(_normal, like, (tiles, adcs), draws)
        if isinstance(effect, GainError):
            gain = per_column(1.0 + effect.strength * effect.sigma * xi())
        elif isinstance(effect, OffsetError):
            offset = per_column(effect.strength * effect.sigma_of_range * xi())
        else:
            thresholds = code_edges(effect, adc.bits, xi)
            # Unequal groups have no shape of their own; then each column gets its ADC's table.
            thresholds = per_column(thresholds) if columns % shared else thresholds
    if gain is None and offset is None and thresholds is None:
        return None
    return AdcState(gain, offset, thresholds)


def _normal(like: Tensor, shape: tuple[int, ...], draws: torch.Generator, *more: int) -> Tensor:
    return like.new_empty(*shape, *more).normal_(generator=draws)


# Errors of the read-out, before the conversion.

_TABLES = (SarMismatch, RampMismatch, PipelineError)


def distorted(
    z: Tensor,
    adc: ADC,
    levels: int,
    gain: Tensor | None,
    offset: Tensor | None,
    temperature_C: float,
) -> Tensor:
    """``z`` in ADC steps after the errors of the read-out, in the order of ``adc.errors``.

    May overwrite ``z``, and returns ``z`` itself where nothing is wrong. The architecture's own
    errors are not among them: they are the conversion that follows, see :func:`looked_up`.

    Args:
        z: of any shape; ``z / levels`` is the value over the range.
        adc: the converters.
        levels: number of codes above zero.
        gain, offset: of :class:`AdcState`, in a shape that broadcasts to that of ``z``.
        temperature_C: of the chip.
    """
    columns = _Columns(levels, gain, offset, temperature_C)
    for effect in adc.errors:
        if effect.strength and not isinstance(effect, _TABLES):
            z = _with_error(effect, z, columns)
    return z


class _Columns(NamedTuple):
    """The arguments of :func:`distorted`."""

    levels: int
    gain: Tensor | None
    offset: Tensor | None
    temperature_C: float


@singledispatch
def _with_error(effect: object, z: Tensor, columns: _Columns) -> Tensor:
    """``z`` after one error of the readout; in place."""
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
    return z.div_(z.abs().mul_(effect.strength * effect.n / columns.levels).add_(1.0))


@_with_error.register
def _(effect: ReadoutTemperature, z: Tensor, columns: _Columns) -> Tensor:
    warmer_K = effect.strength * (columns.temperature_C - effect.reference_C)
    z = z.mul_(1.0 + effect.gain_per_K * warmer_K)
    return z.add_(effect.offset_of_range_per_K * warmer_K * columns.levels)


# The conversion itself, where it is not plain rounding: a table for each ADC.


def looked_up(z: Tensor, thresholds: Tensor, lowest: int) -> Tensor:
    """``lowest`` plus the number of thresholds below ``z``, by binary search; NaN stays NaN.

    A value exactly on a threshold takes the lower code, where the plain converter rounds to even.

    Args:
        z: ``[tiles, columns, vectors]`` in steps.
        thresholds: ``[tiles, adcs, codes - 1]``, ascending; columns are dealt to ADCs in
            neighbouring groups of equal size.
        lowest: the lowest code.

    Returns:
        Codes as whole-numbered floats, of the shape of ``z``.
    """
    tiles, adcs, _ = thresholds.shape
    by_adc = z.reshape(tiles, adcs, -1).contiguous()
    below = torch.searchsorted(thresholds.contiguous(), by_adc, out_int32=True).view(z.shape)
    return torch.where(z.isnan(), z, below.to(z.dtype).add_(lowest))


@singledispatch
def code_edges(effect: object, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    """Inputs in steps at which the code changes, ``[..., 2^bits - 1]``, ascending.

    ``xi(n)`` draws ``n`` numbers from N(0, 1) for each ADC, ``[..., n]``; if all of them are 0 the
    edges lie exactly half-way between the codes. A code that is never given has two equal edges.
    """
    raise NotImplementedError(f"no circuit for ADC error {type(effect).__name__}")


@code_edges.register
def _(effect: SarMismatch, bits: int, xi: Callable[[int], Tensor]) -> Tensor:
    xi_k = xi(bits)
    nominal = torch.arange(bits, device=xi_k.device).exp2().to(xi_k.dtype)
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


_LEAST_GAIN = 0.01  # an amplifier may be weak, but it does not turn signs around


def sar_edges(capacitors: Tensor) -> Tensor:
    """Edges of a successive approximation with ``capacitors [..., bits]``, smallest first.

    The trial of a code compares the input with ``2^bits * (capacitors of its set bits) / (all of
    them + 1)``; the one that is added is the dummy that ends the array, so that mismatch bends the
    characteristic without stretching it. A trial decides only among the inputs that the trials
    before have led to it. So the edge at its code is its own level, cut off to the edges left and
    right of it, which earlier trials have set; where it lies beyond them, codes are missing.
    """
    bits = capacitors.shape[-1]
    weights = capacitors * ((1 << bits) / (capacitors.sum(-1, keepdim=True) + 1.0))
    edges = torch.zeros_like(weights[..., :1])
    for bit in range(bits):  # the level of every code's trial
        edges = torch.cat((edges, edges + weights[..., bit : bit + 1]), dim=-1)
    for bit in reversed(range(bits)):
        stride = 2 << bit
        trial = edges[..., stride // 2 :: stride]
        trial.copy_(torch.maximum(trial, edges[..., ::stride]))
        above = edges[..., stride::stride]  # the last trial has none
        trial[..., : above.shape[-1]].clamp_max_(above)
    return edges[..., 1:] - ((1 << (bits - 1)) + 0.5)


def ramp_edges(steps: Tensor) -> Tensor:
    """Edges of a ramp with ``steps [..., 2^bits]``, which go from the lowest code's lower end to
    the highest one's upper end and are stretched to do so."""
    codes = steps.shape[-1]
    total = steps.sum(-1, keepdim=True)
    edges = steps.cumsum(-1) * (codes / total)
    return edges[..., :-1] - (codes / 2 + 0.5)


def pipeline_edges(gains: Tensor) -> Tensor:
    """Edges of a pipeline of 1.5-bit stages with residue ``gains [..., bits - 1]``, first to last.

    A stage decides ``d`` in {-1, 0, 1} with thresholds at ±1/4 of its reference and hands on
    ``gain * (r - d/2)``; the last residue is rounded to -1, 0 or 1. With ``d`` in binary and the
    sum cut off to the codes there are, that is ``round(r * 2^(bits-1))`` for gains of 2.

    A gain above 2 makes the code step back where ``d`` changes, which no table of edges can say.
    Then the edges are those that a code density test finds: as much of the input lies below the
    edge of a code as gives smaller codes.
    """
    first = gains[..., :1]
    edges = torch.cat((torch.full_like(first, -0.5), torch.full_like(first, 0.5)), dim=-1)
    for stage in reversed(range(gains.shape[-1])):
        gain = gains[..., stage : stage + 1]
        half = edges.shape[-1] // 2
        # Which residue gives the sum its edge, for each decision; those beyond all residues are
        # infinite. Then the part of the input below it, within what makes that decision.
        low = F.pad(edges, (0, 2 * half), value=torch.inf) / gain - 0.5
        middle = F.pad(F.pad(edges, (half, 0), value=-torch.inf), (0, half), value=torch.inf) / gain
        high = F.pad(edges, (2 * half, 0), value=-torch.inf) / gain + 0.5
        edges = low.clamp_max_(-0.25) + middle.clamp_(-0.25, 0.25) + high.clamp_min_(0.25)
    # Half the table's length is 2^(bits-1); its last edge leads to a code that is cut off.
    return edges[..., :-1] * (edges.shape[-1] / 2)
