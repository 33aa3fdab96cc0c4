"""IR drop: exact effective conductances against other ways to solve the same crossbar.

    python -m benchmarks.ir_drop [--sizes 64,128,256] [--repeats 3]

Times, on one thread and interleaved in one process: ours (one crossbar, and a batch of eight),
a sparse direct solution of the nodal equations (SciPy's SuperLU: one factorisation, one right-hand
side for each row), and badcrossbar where it is installed (``pip install --no-deps badcrossbar
pathvalidate sigfig`` is enough, for its plots are not needed). Writes the medians, and how far each
is from the sparse solution, to ``benchmarks/results/ir_drop.md`` and ``.csv``. Cells are uniform in
1 to 25 uS, wires 1 ohm for each segment.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from cimsim.circuits import effective_conductance
from cimsim.training.files import write_text

RESULTS = Path(__file__).parent / "results"
WIRE_OHM = 1.0
Matrix = NDArray[np.float64]


def nodal(g: Matrix) -> Matrix:
    """Effective conductances from the sparse nodal equations, all rows driven one after another."""
    rows, columns = g.shape
    word = np.arange(rows * columns).reshape(rows, columns)
    bit = word + rows * columns
    wire = 1.0 / WIRE_OHM
    links = [(word.ravel(), bit.ravel(), g.ravel())]
    for left, right in ((word[:, :-1], word[:, 1:]), (bit[:-1], bit[1:])):
        links.append((left.ravel(), right.ravel(), np.full(left.size, wire)))
    ends = np.concatenate((word[:, 0], bit[-1]))
    a, b, siemens = (np.concatenate(part) for part in zip(*links, strict=True))
    at = np.concatenate((a, b, a, b, ends))
    to = np.concatenate((a, b, b, a, ends))
    values = np.concatenate((siemens, siemens, -siemens, -siemens, np.full(len(ends), wire)))
    size = 2 * rows * columns
    right_hand = np.zeros((size, rows))
    right_hand[word[:, 0], np.arange(rows)] = wire
    volts = splu(coo_matrix((values, (at, to)), shape=(size, size)).tocsc()).solve(right_hand)
    return np.asarray(volts[bit[-1]].T * wire)


def badcrossbar(g: Matrix) -> Callable[[], Matrix] | None:
    """Solves every row of ``g`` with badcrossbar; None if it is not installed."""
    sys.modules.setdefault("cairo", MagicMock())  # for its plots, which are not wanted
    try:
        compute = importlib.import_module("badcrossbar.compute").compute
    except ImportError:
        return None
    logging.disable(logging.INFO)
    volts, ohms = np.eye(len(g)), 1.0 / g
    return lambda: np.asarray(
        compute(volts, ohms, WIRE_OHM, node_voltages=False, all_currents=False).currents.output
    )


def solvers(g: Matrix) -> dict[str, tuple[Callable[[], Matrix], int]]:
    """Each way by name: a call that gives the effective conductances, and how many it solves."""
    wires = {"r_word_ohm": WIRE_OHM, "r_bit_ohm": WIRE_OHM}
    double = torch.from_numpy(g)
    eight = double.expand(8, *g.shape).contiguous()
    found: dict[str, tuple[Callable[[], Matrix], int]] = {
        "cimsim": (lambda: effective_conductance(double, **wires).numpy(), 1),
        "cimsim, 8 at once": (lambda: effective_conductance(eight, **wires)[0].numpy(), 8),
        "sparse nodal solution": (lambda: nodal(g), 1),
    }
    other = badcrossbar(g)
    if other is not None:
        found["badcrossbar"] = (other, 1)
    return found


def measure(size: int, repeats: int) -> list[dict[str, object]]:
    """One row for each solver: median seconds for one crossbar, and its largest deviation."""
    g = np.random.default_rng(0).uniform(1e-6, 25e-6, (size, size))
    reference = nodal(g)
    ways = solvers(g)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    worst: dict[str, float] = {}
    for _ in range(repeats):
        for name, (solve, count) in ways.items():
            start = time.perf_counter()
            solution = solve()
            seconds[name].append((time.perf_counter() - start) / count)
            worst[name] = float(np.abs(solution - reference).max() / reference.max())
    ours = statistics.median(seconds["cimsim"])
    return [
        {
            "crossbar": f"{size} x {size}",
            "solver": name,
            "seconds": statistics.median(times),
            "times cimsim": statistics.median(times) / ours,
            "largest deviation": worst[name],
        }
        for name, times in seconds.items()
    ]


def report(rows: list[dict[str, object]], repeats: int) -> str:
    """The results as Markdown."""
    lines = [
        "# IR drop: time to the effective conductances of one crossbar",
        "",
        f"`python -m benchmarks.ir_drop`: one thread, medians of {repeats} interleaved runs; cells "
        "of 1 to 25 µS, 1 Ω for each segment of wire; deviation from the sparse nodal solution, "
        "relative to its largest element. All solve for every row of the crossbar; afterwards a "
        "product with any number of inputs is one matrix product.",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__}, SciPy {scipy.__version__}",
        "",
        "| crossbar | solver | seconds | against ours | deviation |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['crossbar']} | {row['solver']} | {row['seconds']:.4f} | "
            f"{row['times cimsim']:.1f}x | {row['largest deviation']:.1e} |"
        )
    if not any(row["solver"] == "badcrossbar" for row in rows):
        lines += ["", "badcrossbar was not installed."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--sizes", default="64,128,256")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in map(int, options.sizes.split(",")):
        rows += measure(size, options.repeats)
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text = report(rows, options.repeats)
    print(text)
    write_text(RESULTS / "ir_drop.csv", table.getvalue())
    write_text(RESULTS / "ir_drop.md", text)


if __name__ == "__main__":
    main()
