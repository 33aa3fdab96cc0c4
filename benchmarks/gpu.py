"""Training and inference on one CUDA GPU, compared with plain PyTorch, in bf16 autocast.

    python -m benchmarks.gpu

Checks that the Triton kernels compute the same as plain torch on this GPU, then times the workloads
below, which are large enough to fill it, in alternation: the digital model, and cimsim with both
profiles of :mod:`benchmarks.speed`. Writes ``benchmarks/results/gpu.md`` and ``.json``. Exits with
a message if there is no GPU.

| name | model                                                       | batch              |
|------|-------------------------------------------------------------|--------------------|
| W1   | MLP 4096-8192-8192-10                                       | 8192               |
| W2   | ResNet-20 (64/128/256 channels)                             | 512 of 3x32x32     |
| W3   | 4 GPT blocks (width 2048, 16 heads), 65-way head            | 8 of 1024 tokens   |
| W4   | GPT-2 small (12 blocks, width 768, 12 heads, 50257 tokens)  | 8 of 1024 tokens   |
"""

from __future__ import annotations

import copy
import json
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import cimsim
from benchmarks.workloads import FlatGPT, Workload, images, mlp, text
from cimsim import kernels
from cimsim.files import write_text
from cimsim.nn.layer import AnalogLayer
from cimsim.training.models.resnet import ThinResNet

RESULTS = Path(__file__).parent / "results"
DEVICES = {"peers' work": "generic-gaussian", "whole device": "pcm-ibm-2020"}
WARM_UP, ROUNDS, REPEATS = 5, 9, 3
WORKLOADS = (
    Workload("W1", lambda: mlp((4096, 8192, 8192, 10)), images(8192, 4096)),
    Workload("W2", lambda: ThinResNet(3, 10, 3, (64, 128, 256)), images(512, 3, 32, 32)),
    Workload("W3", lambda: FlatGPT(width=2048, heads=16, length=1024), text(8, 1024)),
    Workload("W4", lambda: FlatGPT(768, 12, 12, 1024, 50257), text(8, 1024, 50257)),
)


def main() -> None:
    """Check, measure, tabulate."""
    if not torch.cuda.is_available():
        sys.exit("no CUDA device is available, so nothing was measured")
    check()
    found: list[dict[str, object]] = []
    for work in WORKLOADS:
        found += measure(work)
        write_text(RESULTS / "gpu.md", table(found))
        write_text(RESULTS / "gpu.json", json.dumps(found, indent=1) + "\n")
    print(table(found))


def check() -> None:
    """The kernels against plain torch with the same draws, on this GPU."""
    torch.manual_seed(0)
    if kernels.active(torch.ones(1, device="cuda")) is None:
        sys.exit(
            "the Triton kernels do not run here: Triton is not installed, or a warning "
            "states the reason"
        )
    for make, shape in (
        (nn.Linear(700, 300), (64, 700)),
        (nn.Conv2d(24, 40, 3, padding=1), (8, 24, 19, 17)),
    ):
        x = torch.randn(shape, device="cuda")
        for name in DEVICES.values():
            layer = cimsim.convert(copy.deepcopy(make), name).cuda()
            cimsim.calibrate(layer, [x])
            cimsim.age(layer, 3600.0)
            results = []
            for which in ("fused", "numbers"):
                layer.draws = 0
                layer.zero_grad()
                with kernels.use(which):  # type: ignore[arg-type]
                    y = layer(x)
                    y.square().sum().backward()
                results.append((y.detach(), layer.weight.grad.clone()))
            for fused, plain in zip(*results, strict=True):
                error = ((fused - plain).norm() / plain.norm()).item()
                print(f"{type(make).__name__} on {name}: kernels and torch differ by {error:.1e}")
                assert error < 1e-2


def measure(work: Workload) -> list[dict[str, object]]:
    """Digital and analog training and inference of one workload."""
    torch.manual_seed(0)
    x, target = (t.cuda() for t in work.batch(torch.Generator().manual_seed(0)))
    digital = work.model().cuda()
    models = {"digital": digital}
    for name, device in DEVICES.items():
        analog = cimsim.convert(copy.deepcopy(digital), device)
        models[f"cimsim, {name}"] = cimsim.calibrate(analog, [x[: max(1, len(x) // 8)]])
    rows: list[dict[str, object]] = []
    for task, build in (("training", _training), ("inference", _inference)):
        calls = {name: build(model, x, target) for name, model in models.items()}
        for name, timed in _interleaved(calls).items():
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            calls[name]()
            peak = (torch.cuda.max_memory_allocated() - before) / 2**20
            row = {"work": work.name, "task": task, "candidate": name, "peak_MiB": peak}
            rows.append({**row, **timed, "busy_ms": _busy_ms(calls[name])})
    return rows


def _busy_ms(call: Callable[[], None]) -> float:
    """Time of all kernels of one more call."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        call()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiled.key_averages()) / 1000


def _training(model: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    ages = random.Random(0)
    layers = [layer for layer in model.modules() if isinstance(layer, AnalogLayer)]
    drifting = any(layer.profile.cell.drift for layer in layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step() -> None:
        model.train()
        if drifting:
            cimsim.age(model, 10 ** ages.uniform(0, 7.5))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _inference(model: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    if any(isinstance(layer, AnalogLayer) for layer in model.modules()):
        cimsim.program(model, 1)
        cimsim.age(model, 3600.0)

    def forward() -> None:
        model.eval()
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
            model(x)

    return forward


def _interleaved(calls: dict[str, Callable[[], None]]) -> dict[str, dict[str, float]]:
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(REPEATS):
                call()
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end) / REPEATS)
    first = times[next(iter(calls))]
    return {
        name: {
            "ms": statistics.median(own),
            "ratio": statistics.median(a / b for a, b in zip(own, first, strict=True)),
        }
        for name, own in times.items()
    }


def table(found: list[dict[str, object]]) -> str:
    """The numbers as Markdown."""
    works = list(dict.fromkeys(str(row["work"]) for row in found))
    lines = [
        "# Speed on a GPU",
        "",
        f"`python -m benchmarks.gpu`. {torch.cuda.get_device_name()}, torch {torch.__version__}, "
        f"cimsim {cimsim.__version__}; bf16 autocast. Each cell shows the time as a multiple of "
        "plain PyTorch's time; the time in milliseconds (in parentheses, the time of all kernels "
        "in one profiled call; the GPU is idle for the rest); and the peak memory in MiB above "
        "the memory that was in use before.",
        "",
        "W1 is an MLP 4096-8192-8192-10 with batches of 8192, W2 a ResNet-20 (64/128/256 channels) "
        "with batches of 512 images of 3x32x32, W3 four GPT blocks (width 2048) with batches of "
        "8 x 1024 tokens, and W4 GPT-2 small with batches of 8 x 1024 tokens. *peers' work* is "
        "`generic-gaussian`, with 8-bit converters, weight noise and readout noise; *whole device* "
        "is `pcm-ibm-2020` with all of its effects.",
    ]
    for task in ("training", "inference"):
        lines += ["", f"## {task.capitalize()}", "", f"| | {' | '.join(works)} |"]
        lines.append("|---" * (len(works) + 1) + "|")
        rows = [row for row in found if row["task"] == task]
        for name in dict.fromkeys(str(row["candidate"]) for row in rows):
            cells = [
                f"**{row['ratio']:.2f}x** · {row['ms']:.2f} ms ({row['busy_ms']:.2f}) · "
                f"{row['peak_MiB']:.0f} MiB"
                for row in rows
                if row["candidate"] == name
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
