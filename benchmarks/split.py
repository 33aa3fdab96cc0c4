"""Where the time of a training step goes: products, kernels, the rest of torch, Python.

    python -m benchmarks.split [--threads 2]
    python -m benchmarks.split --layer [--threads 1]

One step of each workload of :mod:`benchmarks.workloads`, plain and on both devices of
:mod:`benchmarks.speed`: milliseconds in products (matrix products and convolutions, forward and
backward), in each of cimsim's kernels, in all else. Beside them the least that the random numbers
alone would take, drawn by the kernels and not written to memory, and drawn by torch. A second table
has the least time of each part at the measured rates of the machine (:mod:`benchmarks.roofline`),
and how far the measured time is from it. Writes ``benchmarks/results/split.md``.

With ``--layer``: microseconds of a call of one small layer, on a programmed chip and in training,
beside the digital layer; all of them in turn in one process. Writes
``benchmarks/results/small_layer.md``.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.lines import versions
from benchmarks.roofline import ELSE, PRODUCTS, Rates, Work, best_s, counted, measured_rates
from benchmarks.speed import DEVICES, processor, training_step
from benchmarks.workloads import WORKLOADS, Workload
from cimsim.files import write_text
from cimsim.nn.layer import AnalogLayer

RESULTS = Path(__file__).parent / "results"
STEPS = 20
WIDTH, BATCH, ROUNDS, REPEATS = 64, 32, 1000, 4  # of the small layer
KERNELS = (
    *("program", "vjp_programming", "encode", "digitize"),
    *("scatter_to_columns", "mask_gradient"),
)
PARTS = (PRODUCTS, *KERNELS, ELSE)


def main() -> None:
    """Measure, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layer", action="store_true", help="one small layer instead")
    arguments = parser.parse_args()
    threads = arguments.threads
    torch.set_num_threads(threads)
    if arguments.layer:
        report = small_layer(threads)
        write_text(RESULTS / "small_layer.md", report)
        print(report)
        return
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


def small_layer(threads: int) -> str:
    """Microseconds of a call of one small layer, as Markdown."""
    torch.manual_seed(0)
    digital, x = nn.Linear(WIDTH, WIDTH), torch.randn(BATCH, WIDTH)
    dy = torch.ones(BATCH, WIDTH)
    calls: dict[str, dict[str, Callable[[], None]]] = {"forward": {}, "training step": {}}
    for name, profile in (("digital", None), *DEVICES.items()):
        layers = [copy.deepcopy(digital) for _ in calls]
        if profile is not None:
            layers = [cimsim.calibrate(cimsim.convert(each, profile), [x]) for each in layers]
            cimsim.program(layers[0], 1)
        calls["forward"][name] = _forward(layers[0].eval(), x)
        calls["training step"][name] = _step(layers[1].train(), x, dy)
    times = interleaved_us([call for of_kind in calls.values() for call in of_kind.values()])
    lines = [
        "# One small layer",
        "",
        f"`python -m benchmarks.split --layer --threads {threads}`. {processor()}, threads: "
        f"{threads}. Microseconds of a call of a linear layer, {WIDTH} by {WIDTH}, with {BATCH} "
        "inputs: a forward pass without gradients, of analog layers on a programmed chip; and a "
        "training step, forward and backward with the gradient of the input, of analog layers on a "
        f"new chip. "
        + " ".join(f"*{name}* is `{profile}`." for name, profile in DEVICES.items())
        + f" The fastest and the median of {ROUNDS} rounds in which all of them alternate.",
        "",
        *_head(["", "forward", "training step"]),
    ]
    for index, name in enumerate(calls["forward"]):
        of_name = times[index :: len(calls["forward"])]
        cells = [f"{min(each):.0f} ({statistics.median(each):.0f})" for each in of_name]
        lines.append(_row(name, *cells))
    return "\n".join([*lines, "", versions(), ""])


def _forward(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            layer(x)

    return forward


def _step(layer: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], None]:
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        layer(x).backward(dy)

    return step


def interleaved_us(calls: Sequence[Callable[[], None]]) -> list[list[float]]:
    """Microseconds of each call in every round; a round repeats each of them a few times, so that
    it takes about a millisecond, less than a time slice of the scheduler."""
    for call in calls:
        for _ in range(50):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, of_call in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(REPEATS):
                call()
            of_call.append((time.perf_counter() - start) / REPEATS * 1e6)
    return times


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
