"""Resistive lines, compared with the circuit simulator Qucs on the test cases of badcrossbar.

    python -m benchmarks.papers.badcrossbar_2020

Fifteen circuits of one cell and eighteen of 5 x 4 cells, with and without resistance of the lines,
with open cells and with several drives. ``badcrossbar_cases.json`` contains resistances, voltages
and output currents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.papers.record import Measured, Paper, Published, Row, Timer
from cimsim.circuits import effective_conductance

CASES = Path(__file__).parent / "badcrossbar_cases.json"
CITATION = (
    "D. Joksas and A. Mehonic, *badcrossbar: A Python tool for computing and plotting currents and "
    "voltages in passive crossbar arrays*, SoftwareX 12 (2020) 100617; the cases of its tests, "
    "solved by Qucs."
)
TOLERANCE = 1e-12
"""Relative deviation up to which two solutions in float64 count as equal."""


def cases() -> list[dict[str, Any]]:
    """All circuits with their solutions."""
    content: dict[str, Any] = json.loads(CASES.read_text(encoding="utf-8"))
    loaded: list[dict[str, Any]] = content["cases"]
    return loaded


def deviation(case: dict[str, Any]) -> float:
    """Largest deviation of an output current from the simulator's, over the largest current."""
    ohm = np.array(case["resistances_ohm"], dtype=float)  # an open cell is null, here nan
    g_S = torch.from_numpy(np.where(np.isnan(ohm), 0.0, 1.0 / ohm))
    effective = effective_conductance(g_S, r_word_ohm=case["word_ohm"], r_bit_ohm=case["bit_ohm"])
    found = torch.tensor(case["voltages_V"], dtype=torch.float64) @ effective
    expected = torch.tensor(case["currents_A"], dtype=torch.float64)
    apart = (found - expected).abs().max().item()
    largest = expected.abs().max().item()
    return apart / largest if largest else apart


def paper() -> Paper:
    """How many circuits are equal, and the largest deviation."""
    timer = Timer()
    apart = [deviation(case) for case in cases()]
    equal = sum(each <= TOLERANCE for each in apart)
    where = "tests/qucs of joksas/badcrossbar"
    rows = (
        Row(
            "equal",
            f"circuits whose output currents agree within {TOLERANCE:g}",
            "",
            Published(len(apart), where),
            Measured(equal),
        ),
        Row(
            "deviation",
            "largest relative deviation of an output current",
            "",
            Published(0.0, where, high=TOLERANCE),
            Measured(max(apart)),
            "the range is the tolerance",
        ),
    )
    return Paper(
        "badcrossbar_2020",
        "Resistive lines: circuits of Qucs and badcrossbar",
        CITATION,
        "python -m benchmarks.papers.badcrossbar_2020",
        rows,
        seconds=timer.seconds,
    )


if __name__ == "__main__":
    paper().write()
