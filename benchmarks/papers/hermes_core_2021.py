"""The HERMES core of 2021, whose successor the profile describes: throughput and efficiency.

    python -m benchmarks.papers.hermes_core_2021

One core of 256 x 256 unit cells at 1 GHz and 0.8 V. The costs in ``pcm-hermes-2023`` come from the
chip with 64 such cores, which was published two years later.
"""

from __future__ import annotations

from benchmarks.papers.cost_error import model_error
from benchmarks.papers.le_gallo_2023 import layer_cost
from benchmarks.papers.record import Measured, Paper, Published, Row, Timer

CITATION = (
    "R. Khaddam-Aljameh et al., *HERMES-Core: a 1.59-TOPS/mm2 PCM on 14-nm CMOS in-memory compute "
    "core using 300-ps/LSB linearized CCO-based ADCs*, IEEE JSSC 57 (2022) 1027-1038; VLSI 2021."
)
WHERE = "section V.C"


def paper() -> Paper:
    """Both rows."""
    timer = Timer()
    found, error = layer_cost(256, 256), model_error()
    assert found.tops is not None
    assert found.tops_per_W is not None
    words = f"error of the cost model, {100 * error:.0f} %"
    rows = (
        Row(
            "throughput",
            "throughput of a core",
            "TOPS",
            Published.printed(1.008, 0.001, WHERE),
            Measured(found.tops, error * found.tops, 0, words),
            "a vector takes 130 ns on this core and 133 ns on the later chip",
        ),
        Row(
            "efficiency",
            "efficiency of a core",
            "TOPS/W",
            Published.printed(10.5, 0.1, WHERE),
            Measured(found.tops_per_W, error * found.tops_per_W, 0, words),
        ),
    )
    return Paper(
        "hermes_core_2021",
        "HERMES core of 2021: throughput and efficiency",
        CITATION,
        "python -m benchmarks.papers.hermes_core_2021",
        rows,
        seconds=timer.seconds,
    )


if __name__ == "__main__":
    paper().write()
