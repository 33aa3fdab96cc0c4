"""One draw of everything static: weights on cells, programmed, aged, broken and wired."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.compensation import drift_factor
from cimsim.array.telegraph import Traps, find_traps
from cimsim.circuits.adc import AdcState, draw_adc
from cimsim.circuits.mapping import Mapping, weight_scale
from cimsim.circuits.wires import effective_conductance
from cimsim.devices import (
    aged_uS,
    at_temperature_uS,
    broken_uS,
    iv_terms,
    programmed_uS,
    read_variance_uS2,
    slow_noise_uS,
)
from cimsim.profile import Cell, Profile, Wires


class Term(NamedTuple):
    """A part of the current, ``shape(u) @ relative``; ``shape`` None is ``u`` itself."""

    shape: Callable[[Tensor], Tensor] | None
    relative: Tensor


class Chip(NamedTuple):
    """The cells of a layer as a read-out meets them.

    Attributes:
        terms: relative currents of the physical columns, ``[tiles, columns (+ 1), rows]`` each (see
            :meth:`cimsim.circuits.mapping.Mapping.relative`); one, unless the cells are nonlinear.
        scale: digital factors behind the ADC, ``[tiles, columns]``: weight units, what a slice
            counts for, drift compensation.
        read_variance: of the relative currents, shaped like a term; None where nothing is noisy.
        traps: cells with telegraph noise, one entry for each such effect.
        adc: static errors of the converters, or None.
        gated_S: conductances of gated cells in siemens ``[devices, tiles, rows, columns]``, which
            are not a product with the input; None elsewhere.
    """

    terms: tuple[Term, ...]
    scale: Tensor
    read_variance: Tensor | None
    traps: tuple[Traps, ...]
    adc: AdcState | None
    gated_S: Tensor | None

    @property
    def relative(self) -> Tensor:
        """The linear part of the current, reference column included."""
        return self.terms[0].relative


class Cells(NamedTuple):
    """Cells after programming and waiting, in one session.

    Attributes:
        target_uS, g_uS: targets and conductances, ``[devices, tiles, columns, rows]``.
        seen_uS: the same from outside: behind their wires, with the slow part of read noise.
        loss: how much of a cell's own current arrives; None for all of it.
        open: which cells lie on an open line; None if none can.
        scale: digital, ``[tiles, columns, 1]``.
    """

    target_uS: Tensor
    g_uS: Tensor
    seen_uS: Tensor
    loss: Tensor | None
    open: Tensor | None
    scale: Tensor


def hold(weight: Tensor, profile: Profile, seed: int, age_s: float, passing: bool = False) -> Cells:
    """Write ``weight [tiles, columns, rows]`` on the chip named by ``seed``, and wait.

    A ``passing`` chip is met at this age only, see :func:`cimsim.devices.sessions.slow_parts`.

    Differentiable in ``weight`` at fixed draws, where grad mode is on; the factor of the drift
    compensation counts as the constant that the chip's controller has measured.
    """
    cell, array = profile.cell, profile.array
    mapping = Mapping(cell, array)
    scale = weight_scale(weight, array.weight_scale)
    target_uS = mapping.conductances(weight / scale)
    fresh_uS = programmed_uS(target_uS, cell, seed)
    aged = aged_uS(fresh_uS, target_uS, cell, age_s, seed)

    def met(g_uS: Tensor) -> tuple[Tensor, Tensor | None]:
        warm_uS = at_temperature_uS(g_uS, target_uS, cell, profile.temperature_C)
        return broken_uS(warm_uS, cell, array, seed)

    g_uS, dead = met(aged)
    seen_uS = _behind_wires(g_uS, profile.wires, mapping)
    loss = None if seen_uS is g_uS else _attenuation(g_uS, seen_uS)
    slow_uS = slow_noise_uS(g_uS, target_uS, cell, age_s, profile.temperature_C, seed, passing)
    if slow_uS is not None:
        slow_uS = slow_uS if dead is None else slow_uS.masked_fill(dead, 0.0)
        seen_uS = seen_uS + _times(slow_uS, loss)
    counted = torch.cat([scale * part for part in mapping.significance()], dim=-2)
    if array.drift_compensation != "none" and aged is not fresh_uS:
        before_uS, _ = met(fresh_uS.detach())
        with torch.no_grad():
            factor = drift_factor(
                profile,
                target_uS,
                (before_uS, _behind_wires(before_uS, profile.wires, mapping), 0.0),
                (g_uS, seen_uS, age_s),
                seed,
            )
        counted = counted * factor
    return Cells(target_uS, g_uS, seen_uS, loss, dead, counted)


def make_chip(
    weight: Tensor, profile: Profile, seed: int, age_s: float, passing: bool = False
) -> Chip:
    """Everything static of the chip named by ``seed``, holding ``weight``, at ``age_s``.

    ``passing`` as for :func:`hold`.
    """
    cell, wires = profile.cell, profile.wires
    mapping = Mapping(cell, profile.array)
    cells = hold(weight, profile, seed, age_s, passing)
    loss = cells.loss
    terms = [Term(None, mapping.relative(cells.seen_uS))]
    if cell.iv is not None and cell.iv.strength:
        terms = [
            Term(shape, mapping.relative(cells.seen_uS if i == 0 else _times(part_uS, loss)))
            for i, (shape, part_uS) in enumerate(iv_terms(cell.iv, cells.g_uS))
        ]
    variance = None
    variance_uS2 = read_variance_uS2(
        cells.g_uS, cells.target_uS, cell, age_s, profile.temperature_C
    )
    if variance_uS2 is not None:
        if cells.open is not None:
            variance_uS2 = variance_uS2.masked_fill(cells.open, 0.0)
        if loss is not None:
            variance_uS2 = variance_uS2 * loss.square()
        variance = mapping.variances(variance_uS2)
    gated = wires is not None and wires.cells == "gated" and wires.strength > 0
    return Chip(
        terms=tuple(terms),
        scale=cells.scale.squeeze(-1),
        read_variance=variance,
        traps=find_traps(cell, mapping, _times(cells.g_uS, loss), seed),
        adc=draw_adc(profile.adc, len(cells.scale), cells.scale.shape[1], seed, cells.scale),
        gated_S=_gated_S(cells, cell) if gated else None,
    )


def _gated_S(cells: Cells, cell: Cell) -> Tensor:
    """``[devices, tiles, rows, columns]``; no resistor of a network is negative."""
    return _at_full_voltage(cells.seen_uS.clamp_min(0.0), cell).transpose(-1, -2) * 1e-6


def _at_full_voltage(g_uS: Tensor, cell: Cell) -> Tensor:
    """Current over voltage of cells whose input is one bit, all or nothing."""
    if cell.iv is None or not cell.iv.strength:
        return g_uS
    full = g_uS.new_ones(())
    total = torch.zeros_like(g_uS)
    for shape, part_uS in iv_terms(cell.iv, g_uS):
        total = total + shape(full) * part_uS
    return total


def _behind_wires(g_uS: Tensor, wires: Wires | None, mapping: Mapping) -> Tensor:
    """What passive cells look like from outside: the nodal solution of every physical tile."""
    if wires is None or wires.strength == 0 or wires.cells == "gated":
        return g_uS
    columns = mapping.array.columns
    if not mapping.reference or mapping.digital_reference:
        return torch.cat([_solved(block, wires) for block in g_uS.split(columns, dim=-2)], dim=-2)
    # Every tile has a reference column of its own, behind the others, which is subtracted from
    # theirs. As one column stands for all of them here, the others make up for the difference.
    weights, reference = g_uS[..., :-1, :], g_uS[..., -1:, :]
    parts: list[Tensor] = []
    first: Tensor | None = None
    for block in weights.split(max(1, columns - 1), dim=-2):
        seen = _solved(torch.cat((block, reference), dim=-2), wires)
        own, subtracted = seen[..., :-1, :], seen[..., -1:, :]
        first = subtracted if first is None else first
        parts.append(own - subtracted + first)
    assert first is not None
    return torch.cat((*parts, first), dim=-2)


def _solved(g_uS: Tensor, wires: Wires) -> Tensor:
    """Effective conductances in µS of tiles ``[..., columns, rows]``."""
    effective_S = effective_conductance(
        g_uS.transpose(-1, -2) * 1e-6,
        r_word_ohm=wires.strength * wires.r_word_ohm,
        r_bit_ohm=wires.strength * wires.r_bit_ohm,
        r_source_ohm=wires.strength * wires.r_source_ohm,
        r_sink_ohm=wires.strength * wires.r_sink_ohm,
    )
    return effective_S.transpose(-1, -2) * 1e6


def _attenuation(g_uS: Tensor, seen_uS: Tensor) -> Tensor:
    """How much of a cell's own current arrives; 1 where the cell conducts nothing."""
    conducting = g_uS > 0
    return torch.where(conducting, seen_uS / g_uS.where(conducting, 1.0), 1.0)


def _times(values: Tensor, factor: Tensor | None) -> Tensor:
    return values if factor is None else values * factor
