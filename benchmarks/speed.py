"""Time and memory of noise-aware training and of inference on a chip, compared with plain PyTorch.

    python -m benchmarks.speed [--work W1,W2,W3] [--threads 2] [--reps 15] [--json] [--name NAME]

For each workload of :mod:`benchmarks.workloads`, one process runs all candidates in alternation,
and divides the time of each candidate by the time of the digital model in the same round, so that
other programs and changes of the clock frequency affect all candidates alike. Everything is
measured twice: with the default memory allocation of the system, and with glibc set to keep freed
memory, because page faults of large temporaries take a large part of the time of slow candidates.
numpy has one thread. Candidates: the digital model, three naive versions (weight noise only; with
converters, twice), cimsim with two profiles, and AIHWKit-Lightning, AIHWKit and CrossSim if they
are installed. Writes ``benchmarks/results/NAME.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cimsim
from benchmarks import peers
from benchmarks.naive import Naive, NaiveFused, WeightNoise, naive
from benchmarks.workloads import WORKLOADS, Workload
from cimsim import kernels
from cimsim.files import write_text
from cimsim.nn.layer import AnalogLayer

RESULTS = Path(__file__).parent / "results"
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}
# OpenBLAS threads of numpy compete with the threads of torch, which would slow down only CrossSim.
ALONE = {"OPENBLAS_NUM_THREADS": "1"}
DEVICES = {"peers' work": "generic-gaussian", "whole device": "pcm-ibm-2020"}
WORKS = (
    "W1 is an MLP 784-1024-1024-10 with batches of 128, W2 a ResNet-20 with batches of 64 images "
    "of 3x32x32, and W3 four GPT blocks of width 256 with batches of 8 x 128 tokens."
)
PROFILES = (
    "*peers' work* is `generic-gaussian`, with 8-bit converters, weight noise and readout noise, "
    "which the other simulators support for the most part; *whole device* is `pcm-ibm-2020` with "
    "all of its effects."
)
WARM_UP, ROUND_S = 4, 0.05


def main() -> None:
    """Measure, tabulate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default=",".join(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print the numbers instead of tables")
    parser.add_argument("--name", help="of the results")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results alone")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:  # the child process, for one workload and one allocator
        torch.set_num_threads(arguments.threads)
        print(json.dumps(measure(WORKLOADS[arguments.work], arguments.reps)))
        return
    found = []
    for work in arguments.work.split(","):
        for allocator, environment in (("as it comes", {}), ("memory kept", KEEP_MEMORY)):
            print(f"{work}, {allocator} ...", file=sys.stderr, flush=True)
            child = [sys.executable, "-m", "benchmarks.speed", "--measure", "--work", work]
            child += ["--threads", str(arguments.threads), "--reps", str(arguments.reps)]
            done = subprocess.run(
                child,
                env={**os.environ, **ALONE, **environment},
                check=True,
                stdout=subprocess.PIPE,
            )
            for row in json.loads(done.stdout.splitlines()[-1]):
                found.append({"work": work, "allocator": allocator, **row})
    report = tables(found, arguments.threads, arguments.reps)
    print(json.dumps(found, indent=1) if arguments.json else report)
    if not arguments.no_write:
        name = "speed" if arguments.threads == 2 else f"speed_{arguments.threads}_threads"
        name = arguments.name or name
        write_text(RESULTS / f"{name}.md", report)
        write_text(RESULTS / f"{name}.json", json.dumps(found, indent=1) + "\n")


def measure(work: Workload, reps: int) -> list[dict[str, object]]:
    """All candidates of one workload: training, inference, bytes saved for backward."""
    torch.manual_seed(0)
    x, target = work.batch(torch.Generator().manual_seed(0))
    digital = work.model()
    models: dict[str, nn.Module] = {"digital": digital}
    models["naive, weight noise only"] = naive(digital, x, WeightNoise)
    models["naive"] = naive(digital, x, Naive)
    models["naive, fused fake-quant"] = naive(digital, x, NaiveFused)
    for name, profile in DEVICES.items():
        models[f"cimsim, {name}"] = cimsim.calibrate(
            cimsim.convert(copy.deepcopy(digital), profile), [x]
        )
    for name, model in peers.models(digital, x):
        models[name] = model
    trained = {name: training_step(model, x, target) for name, model in models.items()}
    rows: list[dict[str, object]] = []
    for name, timed in interleaved(trained, reps).items():
        saved = saved_bytes(models[name].train(), x, target)
        rows.append({"task": "training", "candidate": name, "saved_bytes": saved, **timed})
    served = {name: inference_call(model, x) for name, model in models.items()}
    for name, timed in interleaved(served, reps).items():
        rows.append({"task": "inference", "candidate": name, **timed})
    return rows


def training_step(model: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    """One step: forward, backward, SGD. Chips of drifting devices have a random age each time."""
    ages = random.Random(0)
    layers = [layer for layer in model.modules() if isinstance(layer, AnalogLayer)]
    drifting = any(layer.profile.cell.drift for layer in layers)
    parameters = _weights(model)

    def step() -> None:
        model.train()
        if drifting:
            cimsim.age(model, 10 ** ages.uniform(0, 7.5))
        F.cross_entropy(model(x), target).backward()
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-1e-4)
                    parameter.grad = None
            peers.after_update(model)

    return step


def inference_call(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """One forward pass on an hour-old chip that was programmed before."""
    if any(isinstance(layer, AnalogLayer) for layer in model.modules()):
        cimsim.program(model, 1)
        cimsim.age(model, 3600.0)

    def forward() -> None:
        model.eval()
        with torch.no_grad():
            model(x)

    return forward


def interleaved(
    calls: dict[str, Callable[[], None]], reps: int
) -> dict[str, dict[str, float | list[float]]]:
    """Milliseconds of each call, and their ratio to the first in the same round.

    Medians with quartiles; short calls are repeated within a round.
    """
    repeats = {}
    for name, call in calls.items():
        for _ in range(WARM_UP):
            call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, min(20, round(ROUND_S / (time.perf_counter() - start))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for _ in range(reps):
        for name, call in calls.items():
            call()  # finds its memory, and the threads of the candidate before go to sleep
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
    first = times[next(iter(calls))]
    found: dict[str, dict[str, float | list[float]]] = {}
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = {"ms": statistics.median(own), "ratio": middle, "quartiles": [low, high]}
    return found


def _weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that hold numbers; AIHWKit has others, which cannot be read."""
    return [p for p in model.parameters() if type(p) is nn.Parameter]


def saved_bytes(model: nn.Module, x: Tensor, target: Tensor) -> int:
    """Bytes of the storages that a forward pass keeps for the backward pass, without parameters."""
    own = {p.untyped_storage().data_ptr() for p in _weights(model)}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = F.cross_entropy(model(x), target)
    assert loss.requires_grad
    return sum(size for address, size in kept.items() if address not in own)


def tables(found: list[dict[str, object]], threads: int, reps: int) -> str:
    """The numbers as Markdown."""
    versions = {"cimsim": cimsim.__version__, "torch": torch.__version__, **peers.versions()}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Speed",
        "",
        f"`python -m benchmarks.speed --threads {threads} --reps {reps}`. {processor()}, {threads}"
        f" threads, Python {platform.python_version()}, {listed}; kernels:"
        f" {kernels.cpu.build().note}.",
        "",
        "Each cell shows the time as a multiple of plain PyTorch's time in the same round, in "
        "float32: median of all rounds (quartiles); the time in milliseconds; and for training, "
        "the MiB kept for the backward pass and their ratio to plain PyTorch.",
        "",
        f"{WORKS} {PROFILES} The naive versions are written in plain PyTorch: with weight noise "
        "only, with weight noise and converters, and with torch's fused fake quantization as "
        "converters.",
    ]
    works = list(dict.fromkeys(str(row["work"]) for row in found))
    for task in ("training", "inference"):
        for allocator in ("as it comes", "memory kept"):
            rows = [r for r in found if (r["task"], r["allocator"]) == (task, allocator)]
            names = list(dict.fromkeys(str(row["candidate"]) for row in rows))
            lines += ["", f"## {task.capitalize()}, {_EXPLAINED[allocator]}", ""]
            lines += [f"| | {' | '.join(works)} |", "|---" * (len(works) + 1) + "|"]
            for name in names:
                cells = [_cell(rows, work, name) for work in works]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_EXPLAINED = {
    "as it comes": "default memory allocation",
    "memory kept": "glibc keeps freed memory ("
    + " ".join(f"`{name}={value}`" for name, value in KEEP_MEMORY.items())
    + ")",
}


def _cell(rows: list[dict[str, object]], work: str, name: str) -> str:
    mine = [row for row in rows if (row["work"], row["candidate"]) == (work, name)]
    if not mine:
        return "-"
    (row,) = mine
    (digital,) = (r for r in rows if (r["work"], r["candidate"]) == (work, "digital"))
    low, high = row["quartiles"]  # type: ignore[misc]
    text = f"**{row['ratio']:.2f}x** ({low:.2f}-{high:.2f}) · {row['ms']:.1f} ms"
    if "saved_bytes" in row:
        saved, plain = float(str(row["saved_bytes"])), float(str(digital["saved_bytes"]))
        text += f" · {saved / 2**20:.1f} MiB ({saved / plain:.2f}x)"
    return text


def processor() -> str:
    """The processor's name and its relevant instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    flags = next((line for line in lines if line.startswith("flags")), "")
    names = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    extras = [name for name in names if name in flags]
    return f"{model} ({', '.join(extras)})"


if __name__ == "__main__":
    main()
