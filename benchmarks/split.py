"""Where the time of a training step goes: products, kernels, the rest of torch, Python.

    python -m benchmarks.split [--threads 2]

One step of each workload of :mod:`benchmarks.workloads`, plain and on both devices of
:mod:`benchmarks.speed`: milliseconds in products (matrix products and convolutions, forward and
backward), in each of cimsim's kernels, in all else. Beside them the least that the random numbers
alone would take, drawn by the kernels and not written to memory, and drawn by torch. Writes
``benchmarks/results/split.md``.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.speed import DEVICES, processor, training_step
from benchmarks.workloads import WORKLOADS, Workload
from cimsim.files import write_text
from cimsim.kernels import cpu
from cimsim.nn.layer import AnalogLayer

RESULTS = Path(__file__).parent / "results"
PRODUCTS = ("mm", "addmm", "bmm", "mkldnn_convolution", "convolution_backward")
STEPS = 20
KERNELS = (
    *("program", "vjp_programming", "encode", "digitize"),
    *("scatter_to_columns", "mask_gradient"),
)


def main() -> None:
    """Measure, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    drawn_ns, torch_ns = _random_ns()
    head = ["", "step", "products", *KERNELS, "else", "normal numbers", "drawn by torch"]
    lines = [
        "# Where the time goes",
        "",
        f"`python -m benchmarks.split --threads {threads}`. {processor()}, {threads} threads. "
        "Milliseconds of a training step. *else* is all other operations of torch and Python; "
        f"*normal numbers* are those of the step, in millions, and what they take: {drawn_ns:.2f} "
        f"ns each by the kernels, {torch_ns:.2f} ns by torch.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for work in WORKLOADS.values():
        for name, profile in (("digital", None), *DEVICES.items()):
            split = measure(work, profile)
            count = split.pop("numbers")
            cells = [f"{split[key]:.1f}" for key in ("step", "products", *KERNELS, "else")]
            drawn = f"{count:.1f} M, {count * drawn_ns:.1f} ms"
            row = [f"{work.name}, {name}", *cells, drawn, f"{count * torch_ns:.1f} ms"]
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
    write_text(RESULTS / "split.md", "\n".join(lines) + "\n")


def measure(work: Workload, profile: str | None) -> dict[str, float]:
    """Milliseconds of the parts of one step, and millions of normal numbers that it draws."""
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
    split = {"step": statistics.median(times), **_kernels(step)}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            step()
    split["products"] = sum(
        event.self_cpu_time_total / STEPS / 1e3
        for event in profiled.key_averages()
        if event.key.removeprefix("aten::") in PRODUCTS
    )
    split["else"] = split["step"] - split["products"] - sum(split[name] for name in KERNELS)
    split["numbers"] = _numbers(model, x) / 1e6
    return split


def _kernels(step: object) -> dict[str, float]:
    assert callable(step)
    spent: Counter[str] = Counter()
    original = cpu._call

    def timed(name: str, *arguments: object) -> None:
        start = time.perf_counter()
        original(name, *arguments)
        spent[name] += (time.perf_counter() - start) * 1e3

    cpu._call = timed
    try:
        for _ in range(STEPS):
            step()
    finally:
        cpu._call = original
    return {name: spent[name] / STEPS for name in KERNELS}


def _numbers(model: nn.Module, x: Tensor) -> float:
    """Programming and drift twice (forward, and backward again), reads once."""
    counted = 0.0

    def count(layer: AnalogLayer, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal counted
        cell, adc = layer.profile.cell, layer.profile.adc
        devices = 2 if layer.profile.array.mapping == "differential-pair" else 1
        static = devices * (len(cell.programming_noise) + len(cell.drift)) * layer.weight.numel()
        reads = (len(cell.read_noise) > 0) + (adc.noise_of_range > 0)
        split = layer.array.tiling.tiles // getattr(layer, "groups", 1)
        counted += 2 * static + reads * y.numel() * split

    layers = [layer for layer in model.modules() if isinstance(layer, AnalogLayer)]
    handles = [layer.register_forward_hook(count) for layer in layers]  # type: ignore[arg-type]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return counted


def _random_ns() -> tuple[float, float]:
    """Nanoseconds of a normal number, in a block that stays in the cache."""
    out = torch.empty(100_000)

    def best(draw: object) -> float:
        assert callable(draw)
        found = []
        for _ in range(50):
            start = time.perf_counter()
            draw()
            found.append(time.perf_counter() - start)
        return min(found) / out.numel() * 1e9

    return best(lambda: cpu.normal(out, 1)), best(out.normal_)


if __name__ == "__main__":
    main()
