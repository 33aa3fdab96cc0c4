"""IR drop: time and accuracy of solving the wires of a crossbar.

    python benchmarks/ir_drop.py [--sizes 64,128,256]
    python benchmarks/ir_drop.py --training

With ``--training``, measures a training step of layers with and without wires, and replaces only
this section of the results.

Runs in one process on one thread. The solvers alternate in each round, and their medians are
written to ``benchmarks/results/``. They are compared with SuperLU's direct solution of the nodal
equations (SciPy), and with badcrossbar if it is installed (``pip install --no-deps badcrossbar
pathvalidate sigfig`` is sufficient; without pycairo it computes but does not draw).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.metadata
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

import cimsim
from cimsim.circuits import approximate_effective_conductance, effective_conductance
from cimsim.files import write_text
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import load_profile, override_profile
from cimsim.training.environment import environment

RESULTS = Path(__file__).parent / "results"
ROUNDS = {64: 15, 128: 9, 256: 3}
WIRE_OHM, G_MIN_S, G_MAX_S, BATCH = 1.0, 1e-6, 25e-6, 8
TILE, STEPS, STEP_S = 64, 31, 0.05  # of training: a round takes about STEP_S for each layer
PROFILES = ("pcm-ibm-2020", "reram-wan-2022", "reram-cmo-2025")
BADCROSSBAR_MATRIX_LIMIT = 128  # beyond, all of G_eff takes it minutes

TRAINING = "## A training step\n"
Array = np.ndarray[Any, np.dtype[np.float64]]


class Solver(NamedTuple):
    """A solver; one call solves ``per_call`` crossbars."""

    name: str
    run: Callable[[], Any]
    exact: str  # what its answer is compared with: "matrix", "vector" or nothing
    per_call: int = 1


class Row(NamedTuple):
    """A line of the results."""

    size: int
    solver: str
    median_ms: float
    least_ms: float
    runs: int
    deviation: float | None


def main() -> None:
    """Measure, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="64,128,256")
    parser.add_argument("--training", action="store_true", help="training steps instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    page = RESULTS / "ir_drop.md"
    solutions, heading, training = page.read_text(encoding="utf-8").partition(TRAINING)
    if arguments.training:
        heading, training = TRAINING, _training_section()
    else:
        sizes = [int(size) for size in arguments.sizes.split(",")]
        badcrossbar = _badcrossbar()
        rows = [row for size in sizes for row in _measured(size, badcrossbar)]
        write_text(RESULTS / "ir_drop.csv", _csv(rows))
        solutions = _markdown(rows, badcrossbar is not None)
    write_text(page, f"{solutions.rstrip()}\n\n{heading}{training}".rstrip() + "\n")
    print(page.read_text(encoding="utf-8"))


def _badcrossbar() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = importlib.import_module("badcrossbar")
        except ImportError:
            return None
    logging.disable(logging.INFO)
    return module if hasattr(module, "compute") else None


def _measured(size: int, badcrossbar: Any) -> list[Row]:
    rng = np.random.default_rng(size)
    g = rng.uniform(G_MIN_S, G_MAX_S, (size, size))
    drive = rng.uniform(0.0, 1.0, size)
    solvers = _solvers(g, drive, badcrossbar)
    exact = {"matrix": _nodal(g).conductances()}
    exact["vector"] = drive @ exact["matrix"]
    times: dict[str, list[float]] = {solver.name: [] for solver in solvers}
    deviations: dict[str, float | None] = {}
    for turn in range(-1, ROUNDS.get(size, 3)):
        for solver in solvers:
            start = time.perf_counter()
            answer = solver.run()
            took_ms = 1e3 * (time.perf_counter() - start) / solver.per_call
            if turn >= 0:  # the round before warms up
                times[solver.name].append(took_ms)
            elif solver.exact:
                want = exact[solver.exact]
                deviation = np.abs(np.asarray(answer, dtype=float) - want).max() / want.max()
                deviations[solver.name] = float(deviation)
        print(f"{size}: round {turn + 1}", flush=True)
    return [
        Row(size, name, statistics.median(all_ms), min(all_ms), len(all_ms), deviations.get(name))
        for name, all_ms in times.items()
    ]


def _solvers(g: Array, drive: Array, badcrossbar: Any) -> list[Solver]:
    wires = {"r_word_ohm": WIRE_OHM, "r_bit_ohm": WIRE_OHM}
    double, single = torch.as_tensor(g), torch.as_tensor(g).float()
    batch = double.expand(BATCH, -1, -1).contiguous()

    def gradient() -> None:
        leaf = double.clone().requires_grad_()
        effective_conductance(leaf, **wires).sum().backward()

    solvers = [
        Solver("cimsim, float64", lambda: effective_conductance(double, **wires), "matrix"),
        Solver("cimsim, float32", lambda: effective_conductance(single, **wires), "matrix"),
        Solver(
            f"cimsim, float64, {BATCH} at once",
            lambda: effective_conductance(batch, **wires),
            "matrix",
            BATCH,
        ),
        Solver("cimsim, float64, with its gradient", gradient, ""),
        Solver(
            "cimsim, first-order approximation",
            lambda: approximate_effective_conductance(double, **wires),
            "matrix",
        ),
        Solver("SuperLU, one vector", lambda: _nodal(g).currents(drive), ""),
        Solver("SuperLU, all of G_eff", lambda: _nodal(g).conductances(), ""),
    ]
    if badcrossbar is None:
        return solvers

    def compute(voltages: Array) -> Array:
        quiet = {"node_voltages": False, "all_currents": False}
        found = badcrossbar.compute(voltages, 1 / g, r_i=WIRE_OHM, **quiet)
        return np.asarray(found.currents.output)

    solvers.append(Solver("badcrossbar, one vector", lambda: compute(drive[:, None])[0], "vector"))
    if len(g) <= BADCROSSBAR_MATRIX_LIMIT:
        one_each = np.eye(len(g))
        solvers.append(Solver("badcrossbar, all of G_eff", lambda: compute(one_each), "matrix"))
    return solvers


class _Factored(NamedTuple):
    lu: Any
    rows: int
    columns: int

    def conductances(self) -> Array:
        """Adjoint: a current into each output, the voltage at each input; symmetric."""
        unknowns = self.rows * self.columns
        into = np.zeros((2 * unknowns, self.columns))
        into[range(2 * unknowns - self.columns, 2 * unknowns), range(self.columns)] = 1 / WIRE_OHM
        found: Array = self.lu.solve(into)[: unknowns : self.columns] / WIRE_OHM
        return found

    def currents(self, drive: Array) -> Array:
        """Column currents for one vector of voltages."""
        unknowns = self.rows * self.columns
        into = np.zeros(2 * unknowns)
        into[: unknowns : self.columns] = drive / WIRE_OHM
        found: Array = self.lu.solve(into)[-self.columns :] / WIRE_OHM
        return found


def _nodal(g: Array) -> _Factored:
    """The nodal equations of word nodes, then bit nodes, each row by row; factored."""
    rows, columns = g.shape
    word = np.arange(g.size).reshape(g.shape)
    bit = word + g.size
    a = np.concatenate([word[:, :-1].ravel(), bit[:-1].ravel(), word.ravel()])
    b = np.concatenate([word[:, 1:].ravel(), bit[1:].ravel(), bit.ravel()])
    segments = len(a) - g.size
    c = np.concatenate([np.full(segments, 1 / WIRE_OHM), g.ravel()])
    ends = np.concatenate([word[:, 0], bit[-1]])
    data = np.concatenate([c, c, -c, -c, np.full(len(ends), 1 / WIRE_OHM)])
    i = np.concatenate([a, b, a, b, ends])
    j = np.concatenate([a, b, b, a, ends])
    matrix = scipy.sparse.coo_matrix((data, (i, j)), shape=(2 * g.size,) * 2).tocsc()
    symmetric = {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    lu = scipy.sparse.linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", **symmetric)
    return _Factored(lu, rows, columns)


def _training_section() -> str:
    """What follows the heading."""
    layers = {
        "Linear(256, 256), 128 inputs": (nn.Linear(256, 256), torch.randn(128, 256)),
        "Linear(256, 256), 2048 inputs": (nn.Linear(256, 256), torch.randn(2048, 256)),
        "Conv2d(64, 64, 3), 32 x 8 x 8": (
            nn.Conv2d(64, 64, 3, padding=1),
            torch.randn(32, 64, 8, 8),
        ),
    }
    lines = [
        "",
        "    python benchmarks/ir_drop.py --training",
        "",
        "The table shows milliseconds of a forward and backward pass of one layer on a new chip, "
        f"including the gradient of its input. Tiles have {TILE} x {TILE} cells, without wires or "
        f"with {WIRE_OHM:g} ohm per wire segment. Times are medians of {STEPS} interleaved rounds "
        "on one thread, and the ratio is the median of the ratios of each round. A step solves "
        "the wires once in the forward pass and once more for the gradient, independent of the "
        "number of inputs.",
        "",
        "| layer | profile | crossbars | without wires | with wires | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, (layer, x) in layers.items():
        for profile in PROFILES:
            steps = _training_steps(layer, x, profile)
            numbers = f"{_digits(steps.without_ms)} | {_digits(steps.wired_ms)} | {steps.ratio:.1f}"
            lines.append(f"| {name} | `{profile}` | {steps.crossbars} | {numbers} |")
            print(lines[-1], flush=True)
    return "\n".join([*lines, "", f"{_versions()}; CPU, {torch.get_num_threads()} thread.", ""])


class _Steps(NamedTuple):
    """Training steps without and with wires."""

    without_ms: float
    wired_ms: float
    ratio: float
    crossbars: int


def _training_steps(layer: nn.Module, x: Tensor, name: str) -> _Steps:
    """Measure one layer on a device."""
    tiles: dict[str, object] = {"array.rows": TILE, "array.columns": TILE}
    lines = {"kind": "nodal", "r_word_ohm": WIRE_OHM, "r_bit_ohm": WIRE_OHM, "source": "assumed"}
    analog = []
    for keys in (tiles, {**tiles, "wires": lines}):
        profile = override_profile(load_profile(name), keys)
        model = cimsim.calibrate(cimsim.convert(layer, profile), [x]).train()
        assert isinstance(model, AnalogLayer)
        analog.append(model)
    x = x.clone().requires_grad_()
    dy = torch.ones_like(analog[0](x))
    times: list[list[float]] = [[] for _ in analog]
    repeats = [1] * len(analog)
    for turn in range(-1, STEPS):
        for at, model in enumerate(analog):
            start = time.perf_counter()
            for _ in range(repeats[at]):
                model(x).backward(dy)
            took_s = (time.perf_counter() - start) / repeats[at]
            if turn < 0:  # the round before warms up
                repeats[at] = max(1, round(STEP_S / took_s))
            else:
                times[at].append(1e3 * took_s)
    array, cells = analog[1].array, analog[1].array.chip(analog[1].weight.detach(), 0).relative
    return _Steps(
        *map(statistics.median, times),
        statistics.median(wired / without for without, wired in zip(*times, strict=True)),
        array.mapping.devices * len(cells) * -(-cells.shape[1] // TILE),
    )


def _csv(rows: list[Row]) -> str:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        deviation = "" if row.deviation is None else f"{row.deviation:.3g}"
        times = (f"{row.median_ms:.3f}", f"{row.least_ms:.3f}")
        writer.writerow([row.size, row.solver, *times, row.runs, deviation])
    return out.getvalue()


def _markdown(rows: list[Row], with_badcrossbar: bool) -> str:
    sizes = list(dict.fromkeys(row.size for row in rows))
    table = {(row.solver, row.size): row for row in rows}
    reference = "SuperLU, all of G_eff"
    lines = [
        "# IR drop: solving the wires of a crossbar",
        "",
        "    python benchmarks/ir_drop.py",
        "",
        "The table shows milliseconds per n x n crossbar: the median of interleaved runs "
        f"({_runs(sizes)}) on one thread. Cells have {1e6 * G_MIN_S:g} to {1e6 * G_MAX_S:g} µS, "
        f"and each wire segment has {WIRE_OHM:g} ohm. The number in parentheses is the speedup "
        "over SuperLU for the whole matrix `G_eff` (SciPy's `splu` of the nodal equations, "
        "minimum-degree ordering, one factorization and n right-hand sides). `G_eff` is computed "
        "once per programming, and then multiplies every batch of inputs; a solution for one "
        "vector must be computed again for the next vector.",
        "",
        "| solver | " + " | ".join(f"{size} x {size}" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for solver in dict.fromkeys(row.solver for row in rows):
        cells = []
        for size in sizes:
            row = table.get((solver, size))
            if row is None:
                cells.append("—")
                continue
            gain = table[reference, size].median_ms / row.median_ms
            # SuperLU gives no gradient, and a vector is not all.
            whole = not any(word in solver for word in ("vector", "gradient", reference))
            cells.append(_digits(row.median_ms) + (f" ({_digits(gain)}x)" if whole else ""))
        lines.append(f"| {solver} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Largest deviation from SuperLU's solution, relative to the largest element:",
        "",
        "| solver | " + " | ".join(f"{size} x {size}" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for solver in dict.fromkeys(row.solver for row in rows if row.deviation is not None):
        found = [table.get((solver, size)) for size in sizes]
        cells = [f"{r.deviation:.1e}" if r and r.deviation is not None else "—" for r in found]
        lines.append(f"| {solver} | " + " | ".join(cells) + " |")
    extra = "; badcrossbar was not installed"
    if with_badcrossbar:
        extra = f", badcrossbar {importlib.metadata.version('badcrossbar')}"
    lines += ["", f"{_versions()}{extra}; CPU, {torch.get_num_threads()} thread.", ""]
    return "\n".join(lines)


def _versions() -> str:
    found = environment()
    packages = (f"{name} {found['packages'][name]}" for name in ("torch", "numpy", "scipy"))
    return f"cimsim {found['cimsim']}, Python {found['python']}, {', '.join(packages)}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _runs(sizes: list[int]) -> str:
    return ", ".join(str(ROUNDS.get(size, 3)) for size in sizes)


if __name__ == "__main__":
    main()
