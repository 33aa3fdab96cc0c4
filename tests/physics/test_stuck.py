"""Faults: as many as asked for, and where they were put."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import cimsim
from cimsim.physics import broken_uS
from tests.building import device

CELLS = (2, 4, 100, 250)
N = 200_000


def broken(
    g_uS: Tensor, *faults: dict[str, Any], seed: int = 1, **made: Any
) -> tuple[Tensor, Tensor | None]:
    profile = device(faults=list(faults), g_min_uS=1.0, **made)
    return broken_uS(g_uS, profile.cell, profile.array, seed)


def healthy(shape: tuple[int, ...] = CELLS) -> Tensor:
    return torch.full(shape, 10.0, dtype=torch.float64)


def stuck(at: str, rate: float, **more: Any) -> dict[str, Any]:
    return {"kind": "stuck", "at": at, "rate": rate, **more}


def is_share(found: Tensor, share: float, of: int = N) -> bool:
    """Whether a sample of ``of`` agrees within four standard errors."""
    error = abs(found.double().mean().item() - share)
    return error <= 4 * math.sqrt(share * (1 - share) / of)


@pytest.mark.parametrize(
    ("low", "high"), [(0.01, 0.0), (0.0, 0.01), (0.01, 0.02), (0.3, 0.3), (0.4, 0.6), (0.0, 1.0)]
)
def test_stuck_rates_are_the_rates_asked_for_alone_and_together(low: float, high: float) -> None:
    for order in (1, -1):
        faults = [stuck("g_min", low), stuck("g_max", high)][::order]
        g, dead = broken(healthy(), *faults)
        assert dead is None
        assert is_share(g == 1.0, low)
        assert is_share(g == 25.0, high)
        assert is_share(g == 10.0, 1 - low - high)


def test_three_kinds_of_stuck_cells_have_each_its_own_rate() -> None:
    g, _ = broken(healthy(), stuck("random", 0.2), stuck("g_min", 0.3), stuck("g_max", 0.1))
    assert is_share(g == 1.0, 0.3)
    assert is_share(g == 25.0, 0.1)
    assert is_share((g != 1.0) & (g != 25.0) & (g != 10.0), 0.2)


def test_rates_that_add_up_to_more_than_all_cells_leave_the_last_its_own() -> None:
    g, _ = broken(healthy(), stuck("g_min", 0.9), stuck("g_max", 0.4))
    assert is_share(g == 25.0, 0.4)
    assert is_share(g == 1.0, 0.6)


def test_cells_stuck_at_random_are_uniform_between_the_ends() -> None:
    g, _ = broken(healthy(), stuck("random", 1.0))
    assert 1.0 <= g.min() < g.max() <= 25.0
    sigma = 24.0 / math.sqrt(12)
    assert g.mean().item() == pytest.approx(13.0, abs=4 * sigma / math.sqrt(N))
    assert g.std().item() == pytest.approx(sigma, rel=0.01)


def test_weaker_faults_are_some_of_the_same_cells() -> None:
    full, half = (broken(healthy(), stuck("random", 0.2, strength=s))[0] for s in (1.0, 0.5))
    assert is_share(half != 10.0, 0.1)
    assert torch.equal(half, torch.where(half != 10.0, full, 10.0))


def test_strength_makes_no_rate_larger_than_one() -> None:
    g, _ = broken(healthy(), stuck("g_max", 0.5, strength=100.0))
    assert (g == 25.0).all()


def test_switching_one_fault_off_keeps_the_others_cells() -> None:
    off = stuck("g_min", 0.2, strength=0.0)
    alone, _ = broken(healthy(), off, stuck("g_max", 0.1))
    both, _ = broken(healthy(), stuck("g_min", 0.2), stuck("g_max", 0.1))
    assert torch.equal(alone == 25.0, both == 25.0)


def dead_lines(row: float = 0.0, column: float = 0.0) -> dict[str, Any]:
    return {"kind": "dead-lines", "row_rate": row, "column_rate": column}


def test_as_many_rows_are_dead_as_asked_for_and_they_are_whole() -> None:
    g, dead = broken(healthy((2, 100, 8, 500)), dead_lines(row=0.05), columns=4)
    assert dead is not None
    assert torch.equal(g == 0.0, dead)
    # The two cells of a weight and the columns of a physical tile share their word lines ...
    blocks = dead.view(2, 100, 2, 4, 500)
    lines = blocks[0, :, :, 0]
    assert torch.equal(blocks, lines[None, :, :, None].expand_as(blocks))
    assert is_share(lines, 0.05, of=lines.numel())
    # ... but the next tile has its own.
    assert not torch.equal(lines[:, 0], lines[:, 1])


def test_as_many_columns_are_dead_as_asked_for_and_they_are_whole() -> None:
    g, dead = broken(healthy((2, 50, 200, 5)), dead_lines(column=0.02))
    assert dead is not None
    assert torch.equal(g == 0.0, dead)
    lines = dead[..., 0]
    assert torch.equal(dead, lines.unsqueeze(-1).expand_as(dead))
    assert is_share(lines, 0.02, of=lines.numel())
    assert not torch.equal(lines[0], lines[1])


def test_both_kinds_of_dead_lines_have_their_own_rate() -> None:
    _, dead = broken(healthy((2, 100, 100, 100)), dead_lines(row=0.1, column=0.2))
    assert dead is not None
    rows, columns = dead.all(dim=0).all(dim=1), dead.all(dim=3)
    assert is_share(rows, 0.1, of=rows.numel())
    assert is_share(columns, 0.2, of=columns.numel())


@pytest.mark.parametrize("first", [True, False])
def test_an_open_line_stays_open_whatever_its_cells_are_stuck_at(first: bool) -> None:
    faults = [dead_lines(row=0.3), stuck("g_max", 1.0)]
    g, dead = broken(healthy(), *(faults if first else faults[::-1]))
    assert dead is not None
    assert torch.equal(g, torch.where(dead, 0.0, 25.0).double())


def test_several_dead_lines_are_dead_together() -> None:
    _, one = broken(healthy(), dead_lines(row=0.1))
    _, both = broken(healthy(), dead_lines(row=0.1), dead_lines(column=0.1))
    assert one is not None
    assert both is not None
    assert (both >= one).all()
    assert not torch.equal(both, one)


def fault_map(*cells: tuple[int, int, int, float]) -> dict[str, Any]:
    return {"kind": "map", "cells": list(cells)}


def test_a_map_puts_its_cells_on_every_tile() -> None:
    g, dead = broken(
        healthy((2, 3, 10, 6)), fault_map((2, 1, 0, 7.0), (5, 3, 1, 0.5)), columns=4, rows=6
    )
    assert dead is None
    expected = healthy((2, 3, 10, 6))
    expected[0, :, [1, 5, 9], 2] = 7.0  # the layer is two and a half tiles wide
    expected[1, :, [3, 7], 5] = 0.5
    assert torch.equal(g, expected)


def test_what_a_small_layer_does_not_use_of_a_map_is_ignored() -> None:
    g, _ = broken(healthy((1, 1, 2, 3)), fault_map((400, 0, 0, 1.0), (0, 300, 0, 1.0)))
    assert torch.equal(g, healthy((1, 1, 2, 3)))


def test_no_fault_no_change() -> None:
    g = healthy()
    same, dead = broken(g)
    assert same is g
    assert dead is None


def test_the_noise_of_a_stuck_cell_is_that_of_its_conductance() -> None:
    """PCM stuck at 25 uS instead of 0: ``0.0088 * 25 uS * sqrt(ln(20 s / 500 ns))``, by hand."""
    layer = torch.nn.Linear(2, 20_000, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.0]).expand(20_000, 2))
    quiet = ["cell.programming_noise=[]", "cell.drift=[]", "dac.bits=null", "adc.bits=null"]
    faults = "cell.faults=[{kind: stuck, at: g_max, rate: 1}]"
    profile = cimsim.load_profile("pcm-ibm-2020", [faults, "array.columns=20000", *quiet])
    model = cimsim.program(cimsim.convert(layer, profile).eval(), seed=1)
    with torch.no_grad():
        found = model(torch.tensor([[0.0, 1.0]]))[0]  # pairs of equal cells
    of_one = 0.0088 * math.sqrt(math.log(20.0 / 500e-9))
    assert found.std().item() == pytest.approx(math.sqrt(2) * of_one, rel=0.03)
