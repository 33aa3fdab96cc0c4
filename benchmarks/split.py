"""Where the time of a training step goes: products, kernels, the rest of torch, Python.

    python -m benchmarks.split [--threads 2]

One step of each workload of :mod:`benchmarks.workloads`, plain and on both devices of
:mod:`benchmarks.speed`: milliseconds in products (matrix products and convolutions, forward and
backward), in each of cimsim's kernels, in all else. Beside them the least that the random numbers
alone would take, drawn by the kernels and not written to memory, and drawn by torch. A second table
has the least time of each part at the measured rates of the machine (:mod:`benchmarks.roofline`),
and how far the measured time is from it. Writes ``benchmarks/results/split.md``.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.roofline import ELSE, PRODUCTS, Rates, Work, best_s, counted, measured_rates
from benchmarks.speed import DEVICES, processor, training_step
from benchmarks.workloads import WORKLOADS, Workload
from cimsim.files import write_text
from cimsim.nn.layer import AnalogLayer

RESULTS = Path(__file__).parent / "results"
STEPS = 20
KERNELS = (
    *("program", "vjp_programming", "encode", "digitize"),
    *("scatter_to_columns", "mask_gradient"),
)
PARTS = (PRODUCTS, *KERNELS, ELSE)


def main() -> None:
    """Measure, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    rates, torch_ns = measured_rates(), _torch_ns()
    times = ["", "step", *PARTS, "normal numbers", "drawn by torch"]
    lines = [
        "# Where the time goes",
        "",
        f"`python -m benchmarks.split --threads {threads}`. {processor()}, {threads} threads. "
        "Milliseconds of a training step. *else* is all other operations of torch and Python; "
        "*normal numbers* are those of the step, in millions, and what they take: "
        f"{1e9 / rates.numbers:.2f} ns each by the kernels, {torch_ns:.2f} ns by torch.",
        "",
        *_head(times),
    ]
    distances = [
        "",
        "## Distance to the limit of the machine",
        "",
        "The least time of each part in milliseconds, what limits it (m: memory, p: products, "
        "n: normal numbers), and the measured time as a multiple of it. The "
        f"machine copies {rates.bytes / 1e9:.1f} GB/s, multiplies {rates.macs / 1e9:.0f} G "
        f"numbers/s in float32 and {rates.low_macs / 1e9:.0f} G/s in bfloat16, and draws "
        f"{rates.numbers / 1e9:.2f} G normal numbers/s. Data in the cache move faster than that.",
        "",
        *_head(["", "step", *PARTS]),
    ]
    for work in WORKLOADS.values():
        for name, profile in (("digital", None), *DEVICES.items()):
            step_ms, parts = measure(work, profile)
            label = f"{work.name}, {name}"
            count = sum(part.numbers for part in parts.values())
            drawn = f"{count / 1e6:.1f} M, {count / rates.numbers * 1e3:.1f} ms"
            cells = [f"{ms:.1f}" for ms in (step_ms, *(p.seconds * 1e3 for p in parts.values()))]
            lines.append(_row(label, *cells, drawn, f"{count * torch_ns / 1e6:.1f} ms"))
            distances.append(_row(label, *_distances(step_ms, parts, rates)))
            print(lines[-1], distances[-1], sep="\n", flush=True)
    write_text(RESULTS / "split.md", "\n".join([*lines, *distances]) + "\n")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _distances(step_ms: float, parts: Mapping[str, Work], rates: Rates) -> Iterator[str]:
    """A cell for the step, whose parts run one after another, and one for each part."""
    least = {name: part.least(rates) for name, part in parts.items()}
    total = sum(ms for ms, _ in least.values())
    yield f"{total:.1f}, {step_ms / total:.1f}x"
    for name, part in parts.items():
        ms, limit = least[name]
        yield f"{ms:.2f} {limit}, {part.seconds * 1e3 / ms:.1f}x" if ms else "-"


def measure(work: Workload, profile: str | None) -> tuple[float, dict[str, Work]]:
    """Milliseconds of one step, and the work of its parts."""
    torch.manual_seed(0)
    x, target = work.batch(torch.Generator().manual_seed(0))
    model = work.model()
    if profile is not None:
        model = cimsim.calibrate(cimsim.convert(copy.deepcopy(model), profile), [x])
    step = training_step(model, x, target)
    for _ in range(5):
        step()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    step_ms = statistics.median(times)
    with counted(KERNELS) as done:
        for _ in range(STEPS):
            step()
    parts = {name: done[name].over(STEPS) for name in PARTS}
    parts["program"].numbers, parts["digitize"].numbers = _numbers(model, x)
    parts["vjp_programming"].numbers = parts["program"].numbers
    known = sum(part.seconds for name, part in parts.items() if name != ELSE)
    parts[ELSE].seconds = step_ms / 1e3 - known  # with Python
    return step_ms, parts


def _numbers(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Normal numbers of programming with drift, and of reads, in one forward pass."""
    programmed, read = 0.0, 0.0

    def count(layer: AnalogLayer, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal programmed, read
        cell, adc = layer.profile.cell, layer.profile.adc
        devices = 2 if layer.profile.array.mapping == "differential-pair" else 1
        drawn = len(cell.programming_noise) + len(cell.drift)
        programmed += devices * drawn * layer.weight.numel()
        reads = (len(cell.read_noise) > 0) + (adc.noise_of_range > 0)
        split = layer.array.tiling.tiles // getattr(layer, "groups", 1)
        read += reads * y.numel() * split

    layers = [layer for layer in model.modules() if isinstance(layer, AnalogLayer)]
    handles = [layer.register_forward_hook(count) for layer in layers]  # type: ignore[arg-type]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return programmed, read


def _torch_ns() -> float:
    """Nanoseconds of a normal number of torch, in a block that stays in the cache."""
    out = torch.empty(100_000)
    return best_s(out.normal_, 50) / out.numel() * 1e9


if __name__ == "__main__":
    main()
