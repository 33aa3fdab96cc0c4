"""Where the time of a training step goes: products, kernels, the rest of torch, Python.

    python -m benchmarks.split [--threads 2]
    python -m benchmarks.split --layer [--threads 1]

Measures one step of each workload of :mod:`benchmarks.workloads`, digital and with both profiles of
:mod:`benchmarks.speed`: milliseconds in products (matrix products and convolutions, forward and
backward), in each kernel of cimsim, and in all other operations. For comparison, the least time of
the random numbers alone, drawn by the kernels and not written to memory, and drawn by torch. A
second table shows the least time of each part at the measured rates of the machine
(:mod:`benchmarks.roofline`), and the measured time as a multiple of it. Writes
``benchmarks/results/split.md``.

With ``--layer``, measures microseconds of a call of one small layer, on a programmed chip and in
training, compared with the digital layer; all layers alternate in one process. Writes
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
from benchmarks.speed import DEVICES, PROFILES, WORKS, processor, training_step
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
        f"`python -m benchmarks.split --threads {threads}`. {processor()}, {threads} threads. The "
        "table shows milliseconds of a training step. *else* is all other operations of torch "
        "and Python. *normal numbers* is the number of normal random numbers that the step "
        "draws, in millions, and the least time to draw them with the kernels "
        f"({1e9 / rates.numbers:.2f} ns each); *drawn by torch* is the time to draw as many with "
        f"torch ({torch_ns:.2f} ns each).",
        "",
        f"{WORKS} {PROFILES}",
        "",
        *_head(times),
    ]
    distances = [
        "",
        "## Comparison with the limits of the machine",
        "",
        "The table shows the least time of each part in milliseconds, what limits it (m: memory, "
        "p: products, n: normal numbers), and the measured time as a multiple of the least time. "
        f"The machine copies {rates.bytes / 1e9:.1f} GB/s, computes {rates.macs / 1e9:.0f} G "
        f"MAC/s in float32 and {rates.low_macs / 1e9:.0f} G MAC/s in bfloat16, and draws "
        f"{rates.numbers / 1e9:.2f} G normal numbers/s. Data in the cache move faster.",
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
        f"{threads}. The table shows microseconds of a call of a {WIDTH} by {WIDTH} linear layer "
        f"with {BATCH} inputs: a forward pass without gradients (analog layers are on a "
        "programmed chip), and a training step, which is a forward and a backward pass including "
        "the gradient of the input (analog layers are on a new chip). "
        + " ".join(f"*{name}* is `{profile}`." for name, profile in DEVICES.items())
        + f" Each cell shows the fastest of {ROUNDS} rounds, and the median in parentheses; the "
        "layers alternate in each round.",
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
