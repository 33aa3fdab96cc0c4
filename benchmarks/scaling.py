"""How time and memory of a training step grow with layer size and batch.

    python -m benchmarks.scaling [--threads 2] [--reps 7]

Measures an MLP of three equal layers with ReLU, with different widths at batch 128 and with
different batches at width 1024: milliseconds of a step and MiB kept for the backward pass, for
plain PyTorch and for cimsim with both profiles of :mod:`benchmarks.speed`. Writes
``benchmarks/results/scaling.csv`` and ``.png``, ``.svg``, or ``scaling_threads_1.csv`` for another
number of threads than two.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

import cimsim
from benchmarks.speed import DEVICES, interleaved, processor, saved_bytes, training_step
from benchmarks.workloads import mlp
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.theme import COLORS
from cimsim.files import write_text

RESULTS = Path(__file__).parent / "results"
WIDTHS, BATCHES = (128, 256, 512, 1024, 2048, 4096), (8, 32, 128, 512, 2048)
WIDTH, BATCH = 1024, 128

Row = dict[str, object]


def main() -> None:
    """Measure, tabulate, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    points = [("width", width, width, BATCH) for width in WIDTHS]
    points += [("batch", batch, WIDTH, batch) for batch in BATCHES]
    rows: list[Row] = []
    for axis, value, width, batch in points:
        for row in measure(width, batch, arguments.reps):
            rows.append({"axis": axis, "value": value, "threads": arguments.threads, **row})
            print(rows[-1], flush=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    name = "scaling" if arguments.threads == 2 else f"scaling_threads_{arguments.threads}"
    write_text(RESULTS / f"{name}.csv", table.getvalue())
    save(draw(rows), RESULTS / f"{name}.png")


def measure(width: int, batch: int, reps: int) -> list[Row]:
    """Every candidate at one width and batch."""
    torch.manual_seed(0)
    x, target = torch.rand(batch, width), torch.randint(width, (batch,))
    digital = mlp((width,) * 4)
    models = {"PyTorch": digital}
    for name, profile in DEVICES.items():
        analog = cimsim.convert(copy.deepcopy(digital), profile)
        models[f"cimsim, {name}"] = cimsim.calibrate(analog, [x])
    steps = {name: training_step(model, x, target) for name, model in models.items()}
    return [
        {
            "candidate": name,
            "ms": timed["ms"],
            "ratio": timed["ratio"],
            "saved_MiB": saved_bytes(models[name].train(), x, target) / 2**20,
            "processor": processor(),
        }
        for name, timed in interleaved(steps, reps).items()
    ]


def draw(rows: list[Row]) -> Figure:
    """Time and kept memory against width and batch, all axes logarithmic."""
    figure = Figure(figsize=(9.0, 6.5), dpi=150, layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for column, (axis, label) in enumerate(
        (("width", f"Width of the layers (batch {BATCH})"), ("batch", f"Batch (width {WIDTH})"))
    ):
        mine = [row for row in rows if row["axis"] == axis]
        for axes, key, unit in (
            (panels[0, column], "ms", "Training step (ms)"),
            (panels[1, column], "saved_MiB", "Kept for backward (MiB)"),
        ):
            _lines(axes, mine, key)
            axes.set(xlabel=label, ylabel=unit)
    panels[0, 0].legend(frameon=False)
    threads, machine = rows[0]["threads"], rows[0]["processor"]
    title = f"Three linear layers with ReLU, float32, {machine}, threads: {threads}"
    figure.suptitle(title, fontsize=10)
    return figure


def _lines(axes: Axes, rows: list[Row], key: str) -> None:
    names = dict.fromkeys(str(row["candidate"]) for row in rows)
    for color, name in zip(COLORS, names, strict=False):
        points = [(row["value"], row[key]) for row in rows if row["candidate"] == name]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=color, label=name)
    axes.set(xscale="log", yscale="log")
    ticks = sorted({int(str(row["value"])) for row in rows})
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
