"""One draw of everything static: weights on cells, programmed, aged, broken and wired."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.attempts import Writes
from cimsim.array.compensation import drift_factor
from cimsim.array.slow_noise import slow_currents
from cimsim.array.telegraph import Traps, find_traps
from cimsim.array.types import Chip, Term
from cimsim.circuits.adc import draw_adc
from cimsim.circuits.mapping import Mapping, weight_scale
from cimsim.circuits.wires import effective_conductance
from cimsim.physics import (
    ReadContext,
    aged_uS,
    at_temperature_uS,
    broken_uS,
    iv_terms,
    programmed_uS,
    reachable_uS,
    read_variance_uS2,
    varied_uS,
)
from cimsim.profile import CellSpec, Profile, Wires
from cimsim.seeds import cycle_seed


class ProgrammedCells(NamedTuple):
    """Cells after programming and aging.

    Attributes:
        state_uS, g_uS: states and conductances in µS, ``[devices, tiles, columns, rows]``; a state
            is the target, or what a faulty cell holds.
        wired_uS: effective conductances behind the wires.
        open: cells on an open line, or None.
        scale: the digital scale, ``[tiles, columns, 1]``.
    """

    state_uS: Tensor
    g_uS: Tensor
    wired_uS: Tensor
    open: Tensor | None
    scale: Tensor


class Solution(NamedTuple):
    """What programming a chip has found behind the wires, so that they are not solved again.

    Attributes:
        wired_uS: :attr:`cimsim.array.types.Chip.wired_uS`.
        scale: the digital scale, ``[tiles, columns]``.
    """

    wired_uS: Tensor
    scale: Tensor


def program_and_age(
    weight: Tensor,
    profile: Profile,
    seed: int,
    age_s: float,
    cycle: int = 0,
    attempts: Tensor | None = None,
    known: Solution | None = None,
) -> ProgrammedCells:
    """Write ``weight [tiles, columns, rows]`` on the chip named ``seed``, and age it; ``cycle``
    counts how often it was written before, and ``attempts``, in the shape of ``weight``, how often
    each weight was written again in this cycle. What is ``known`` of this chip is not solved again.

    Differentiable in ``weight`` at fixed draws, where grad mode is on; the factor of the drift
    compensation counts as the constant that the chip's controller has measured.
    """
    cell, array = profile.cell, profile.array
    mapping = Mapping(cell, array)
    scale = weight_scale(weight, array)
    relative = weight / scale
    writes = Writes.of(cycle, attempts, mapping)

    def written(target_uS: Tensor) -> Tensor:
        return writes.last(
            lambda number: varied_uS(
                programmed_uS(target_uS, cell, seed, number), cell, array, seed, number
            )
        )

    target_uS = reachable_uS(mapping.conductances(relative), cell)
    fresh_uS = written(target_uS)
    for pair in mapping.corrections():  # the same draws, so that only this pair's cells change
        target_uS = reachable_uS(mapping.corrected(target_uS, fresh_uS, relative, pair), cell)
        fresh_uS = written(target_uS)
    aged = writes.last(
        lambda number: aged_uS(
            fresh_uS, target_uS, cell, age_s, seed, number, profile.temperature_C
        )
    )

    def in_operation(g_uS: Tensor) -> tuple[Tensor, Tensor | None]:
        warm_uS = at_temperature_uS(g_uS, target_uS, cell, profile.temperature_C)
        return broken_uS(warm_uS, cell, array, seed)

    g_uS, is_open = in_operation(aged)
    state_uS, _ = broken_uS(target_uS, cell, array, seed)  # the seed gives the same faults
    known_uS = None if known is None else known.wired_uS
    wired_uS = _behind_wires(g_uS, profile.wires, mapping, known_uS)
    counted = torch.cat([scale * part for part in mapping.significance()], dim=-2)
    if mapping.by_voltage:
        counted = counted * mapping.load(target_uS)
    compensates = array.drift_compensation != "none" and aged is not fresh_uS
    if compensates and known is not None:
        counted = counted * (known.scale.unsqueeze(-1) / counted.detach())
    elif compensates:
        before_uS, _ = in_operation(fresh_uS.detach())
        with torch.no_grad():
            factor = drift_factor(
                profile,
                state_uS,
                (before_uS, _behind_wires(before_uS, profile.wires, mapping), 0.0),
                (g_uS, wired_uS, age_s),
                cycle_seed(seed, cycle),
            )
        counted = counted * factor
    return ProgrammedCells(state_uS, g_uS, wired_uS, is_open, counted)


def make_chip(
    weight: Tensor,
    profile: Profile,
    seed: int,
    age_s: float,
    single_use: bool = False,
    cycle: int = 0,
    read_noise: bool = True,
    attempts: Tensor | None = None,
    known: Solution | None = None,
) -> Chip:
    """Everything static of the chip named by ``seed``, holding ``weight``, at ``age_s``; ``cycle``
    counts how often it was written before, and ``attempts`` how often each weight was written again
    in this cycle. What is ``known`` of this chip is not solved again.

    A ``single_use`` chip is used at this age only, see :func:`cimsim.physics.sessions.slow_parts`.
    Without ``read_noise``, reads are deterministic; such a chip is differentiable in ``weight`` as
    :func:`program_and_age` is.
    """
    cell, wires = profile.cell, profile.wires
    mapping = Mapping(cell, profile.array)
    cells = program_and_age(weight, profile, seed, age_s, cycle, attempts, known)
    solved = cells.wired_uS is not cells.g_uS
    loss = _attenuation(cells) if solved else None
    if mapping.by_voltage:
        per_load = 1.0 / mapping.load(cells.wired_uS)
        loss = per_load if loss is None else loss * per_load

    def arriving(currents: Tensor, power: int) -> Tensor:
        if cells.open is not None:
            currents = currents.masked_fill(cells.open, 0.0)
        return currents if loss is None else currents * loss**power

    terms = [Term(None, mapping.relative(cells.wired_uS))]
    if cell.iv is not None and cell.iv.strength:
        terms = _nonlinear(cells.g_uS, profile, seed, arriving)
    slow = variance = None
    traps: tuple[Traps, ...] = ()
    if read_noise:
        place = (cells.g_uS, cells.state_uS)
        writes = Writes.of(cycle, attempts, mapping)
        slow = slow_currents(profile, *place, arriving, age_s, seed, single_use, writes)
        variance_uS2 = read_variance_uS2(ReadContext(*place, cell, age_s, profile.temperature_C))
        variance = None if variance_uS2 is None else mapping.variances(arriving(variance_uS2, 2))
        traps = find_traps(cell, mapping, arriving(cells.g_uS, 1), seed)
    if slow is not None:
        first, *others = terms
        terms = [Term(first.shape, first.relative + slow), *others]
    gated_uS = straight = None
    if wires is not None and wires.cells == "gated" and wires.strength > 0:
        gated_uS, straight = _at_full_voltage(cells.g_uS, cell, seed), slow
    return Chip(
        terms=tuple(terms),
        scale=cells.scale.squeeze(-1),
        read_variance=variance,
        traps=traps,
        adc=draw_adc(profile.adc, profile.array.weight_columns, seed, cells.scale[..., 0]),
        gated_S=None if gated_uS is None else gated_uS.transpose(-1, -2) * 1e-6,
        straight=straight,
        wired_uS=cells.wired_uS if solved and not mapping.reference else None,
    )


def _nonlinear(
    g_uS: Tensor, profile: Profile, seed: int, arriving: Callable[[Tensor, int], Tensor]
) -> list[Term]:
    """Terms of the currents of nonlinear cells."""
    cell, mapping = profile.cell, Mapping(profile.cell, profile.array)
    assert cell.iv is not None
    parts: list[tuple[Callable[[Tensor], Tensor] | None, Tensor]]
    parts = list(iv_terms(cell.iv, g_uS, seed))
    if profile.dac.coding == "duration":
        parts = [(None, _at_full_voltage(g_uS, cell, seed))]
    terms = [Term(shape, mapping.signed(arriving(part_uS, 1)).sum(0)) for shape, part_uS in parts]
    if mapping.analog_offset:  # a separate current, which is linear
        terms.append(Term(None, torch.full_like(terms[0].relative, -mapping.analog_offset)))
    return terms


def _at_full_voltage(g_uS: Tensor, cell: CellSpec, seed: int) -> Tensor:
    """Current over voltage of cells whose input is on or off."""
    if cell.iv is None or not cell.iv.strength:
        return g_uS
    full = g_uS.new_ones(())
    total = torch.zeros_like(g_uS)
    for shape, part_uS in iv_terms(cell.iv, g_uS, seed):
        total = total + shape(full) * part_uS
    return total


def _behind_wires(
    g_uS: Tensor, wires: Wires | None, mapping: Mapping, known_uS: Tensor | None = None
) -> Tensor:
    """Effective conductances of passive cells: the nodal solution of every physical tile.

    ``known_uS`` is an earlier result for the same cells.
    """
    if wires is None or wires.strength == 0 or wires.cells == "gated":
        return g_uS
    tiles = _physical_tiles(g_uS, mapping.array.columns, wires)
    known: list[Tensor] | list[None] = [None] * len(tiles)
    if known_uS is not None:
        known = _physical_tiles(known_uS, mapping.array.columns, wires)
    solved = [_solved(tile, wires, by) for tile, by in zip(tiles, known, strict=True)]
    return torch.cat([_logical_columns(tile, len(g_uS), wires) for tile in solved], dim=-2)


def _physical_tiles(g_uS: Tensor, columns: int, wires: Wires) -> list[Tensor]:
    """Cells ``[devices, tiles, columns, rows]`` as crossbars ``[..., columns, rows]`` of at most
    ``columns`` weights side by side: all whole ones, then narrower ones.

    Cells of a pair may be on adjacent lines. Rows with a negative drive follow by superposition.
    """
    whole = g_uS.shape[-2] // columns * columns
    parts = [g_uS[..., :whole, :].unflatten(-2, (-1, columns)), g_uS[..., None, whole:, :]]
    placed = [part for part in parts if part.shape[-3] and part.shape[-2]]
    if wires.pairs == "columns":
        return [part.movedim(0, -2).flatten(-3, -2) for part in placed]
    if wires.pairs == "rows":
        return [part.movedim(0, -1).flatten(-2) for part in placed]
    return placed


def _logical_columns(tiles_uS: Tensor, devices: int, wires: Wires) -> Tensor:
    """The inverse of :func:`_physical_tiles`, for one of its crossbars."""
    if wires.pairs == "columns":
        tiles_uS = tiles_uS.unflatten(-2, (-1, devices)).movedim(-2, 0)
    elif wires.pairs == "rows":
        tiles_uS = tiles_uS.unflatten(-1, (-1, devices)).movedim(-1, 0)
    return tiles_uS.flatten(-3, -2)


def _solved(g_uS: Tensor, wires: Wires, known_uS: Tensor | None = None) -> Tensor:
    """Effective conductances of tiles ``[..., columns, rows]``; ``known_uS`` if they are known."""
    to_Mohm = 1e-6 * wires.strength  # the equations are the same in uS and Mohm
    return effective_conductance(
        g_uS.transpose(-1, -2),
        r_word_ohm=to_Mohm * wires.r_word_ohm,
        r_bit_ohm=to_Mohm * wires.r_bit_ohm,
        r_source_ohm=to_Mohm * wires.r_source_ohm,
        r_sink_ohm=to_Mohm * wires.r_sink_ohm,
        solution_S=None if known_uS is None else known_uS.transpose(-1, -2),
    ).transpose(-1, -2)


def _attenuation(cells: ProgrammedCells) -> Tensor:
    """Share of each cell's current that arrives; 1 if the cell does not conduct."""
    conducting = cells.g_uS > 0
    return torch.where(conducting, cells.wired_uS / cells.g_uS.where(conducting, 1.0), 1.0)
