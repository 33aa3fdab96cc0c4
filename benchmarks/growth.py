"""How memory and time of a training step grow with the model, with an extrapolation.

    python -m benchmarks.growth [--sizes 1,3,10,30,100] [--restart]

Measures Adam steps of GPTs with 1 to 100 million parameters on one thread, in float32: digital, on
``pcm-ibm-2020`` with a new chip in every forward pass, and the same with every block recomputed in
the backward pass. Each measurement runs in a separate process, and records the peak of its resident
memory minus the memory before the model was built, and the processor time of a step. Fits formulas
to both, and extrapolates them to 1 to 10 billion parameters; tables and figure distinguish measured
from extrapolated numbers. At the end, converts a model of 7 billion parameters on the meta device.

Finished measurements are kept in ``benchmarks/results/growth.csv``, so the same command resumes;
``--restart`` measures finished sizes again. The command writes ``growth.md``, ``growth.png`` and
``growth.svg`` to the same folder. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.optimize import least_squares, nnls

import cimsim
from benchmarks.lines import versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.theme import COLORS, MARKERS
from cimsim.files import write_text
from cimsim.training.activation_checkpointing import recompute
from cimsim.training.models.gpt import GPT

RESULTS = Path(__file__).parent / "results"
PROFILE = "pcm-ibm-2020"
HEAD_WIDTH, LENGTH, VOCABULARY = 64, 64, 65
SHAPES = {1: (128, 5), 3: (192, 7), 10: (320, 8), 30: (512, 10), 100: (832, 12)}  # width, depth
WINDOWS = {1: (1, 4, 16), 3: (1, 4, 16), 10: (1, 4, 16), 30: (1, 4), 100: (1, 4)}  # of 64 tokens
DRAWN = 4 * 64  # tokens
ARMS = ("digital", "analog", "analog, recomputed")
LARGE = {"1.3 B": (2048, 24), "2.7 B": (2560, 32), "6.6 B": (4096, 32), "9.8 B": (4608, 38)}
LARGE_VOCABULARY = 32_000
GPU_GB, GPUS, LARGE_TOKENS = 141, 8, 8192
# Bytes of a parameter with its gradient and Adam's means, and of the gradient alone.
STATES = {"float32": (16, 4), "bfloat16, Adam in float32": (12, 2), "bfloat16": (8, 2)}


@dataclass(frozen=True)
class Shape:
    """The shape of a GPT."""

    width: int
    depth: int
    vocabulary: int = VOCABULARY

    @property
    def parameters(self) -> int:
        """The number of parameters, including embedding and head."""
        block = 12 * self.width**2 + 13 * self.width
        ends = self.width * (2 * self.vocabulary + LENGTH + 2) + self.vocabulary
        return self.depth * block + ends

    @property
    def largest(self) -> int:
        """Weights of the largest analog layer: the wide one of a block, or the head."""
        return max(4 * self.width**2, self.vocabulary * self.width)

    def build(self, device: str = "cpu") -> GPT:
        """The model."""
        with torch.device(device):
            heads = self.width // HEAD_WIDTH
            return GPT(self.width, heads, self.depth, LENGTH, self.vocabulary)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    millions: int
    arm: str
    tokens: int
    parameters: int
    peak_bytes: int
    seconds: float


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SHAPES)), help="millions")
    parser.add_argument("--restart", action="store_true", help="measure finished sizes again")
    parser.add_argument("--one", nargs="+", metavar="MILLIONS ARM WINDOWS", help="internal")
    parser.add_argument("--convert", action="store_true", help="internal")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one:
        millions, arm, *windows = given.one
        found = measure(int(millions), arm, [int(count) for count in windows])
        print(json.dumps([asdict(row) for row in found]))
    elif given.convert:
        print(json.dumps(conversion()))
    else:
        rows = measured([int(size) for size in given.sizes.split(",")], given.restart)
        converted = json.loads(_child("--convert"))
        laws = {arm: Law.of([row for row in rows if row.arm == arm], arm) for arm in ARMS}
        save(draw(rows, laws), RESULTS / "growth.png")
        text = report(rows, laws, converted)
        write_text(RESULTS / "growth.md", text)
        print(text)


def measured(sizes: list[int], restart: bool) -> list[Row]:
    """Every arm at every size and batch; those in the file are not measured again."""
    path = RESULTS / "growth.csv"
    rows = [] if restart or not path.is_file() else _read(path)
    for millions in sizes:
        for arm in ARMS:
            have = {row.tokens for row in rows if (row.millions, row.arm) == (millions, arm)}
            windows = [str(w) for w in WINDOWS[millions] if w * LENGTH not in have]
            if not windows:
                continue
            rows += [
                Row(**row) for row in json.loads(_child("--one", str(millions), arm, *windows))
            ]
            rows.sort(key=lambda row: (row.millions, ARMS.index(row.arm), row.tokens))
            print(f"{millions} M, {arm}: measured", flush=True)
            table = io.StringIO()
            writer = csv.DictWriter(table, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(map(asdict, rows))
            write_text(path, table.getvalue())
    return [row for row in rows if row.millions in sizes]


def _read(path: Path) -> list[Row]:
    kinds = {"arm": str, "seconds": float}
    with path.open(newline="") as file:
        return [
            Row(**{name: kinds.get(name, int)(text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def _child(*arguments: str) -> str:
    """The output of a separate process, whose allocator returns freed memory to the system."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.growth", *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def measure(millions: int, arm: str, batches: list[int]) -> list[Row]:
    """Steps of one model at every batch; only steps with an existing state of Adam count."""
    shape = Shape(*SHAPES[millions])
    torch.manual_seed(0)
    some = torch.randint(VOCABULARY, (max(batches), LENGTH))
    _warm_up(arm)
    before = _resident("VmRSS")
    model: torch.nn.Module = shape.build()
    if arm != "digital":
        cimsim.calibrate(cimsim.convert(model, PROFILE, inplace=True), [some[:1, :8]])
    if arm == "analog, recomputed":
        recompute(model, ["blocks.*"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(tokens: torch.Tensor) -> float:
        began = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
        return time.process_time() - began

    model.train()
    step(some[:1, :8])
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == shape.parameters
    rows = []
    for windows in batches:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak so far
        seconds = min(step(some[:windows]) for _ in range(2 if millions > 10 else 5))
        peak = _resident("VmHWM") - before
        rows.append(Row(millions, arm, windows * LENGTH, parameters, peak, seconds))
    return rows


def _warm_up(arm: str) -> None:
    """Load and compile everything that a step needs, with a model that is discarded."""
    model: torch.nn.Module = Shape(HEAD_WIDTH, 1).build()
    tokens = torch.zeros(1, LENGTH, dtype=torch.int64)
    if arm != "digital":
        cimsim.calibrate(cimsim.convert(model, PROFILE, inplace=True), [tokens])
    recompute(model, ["blocks.*"] * (arm == "analog, recomputed"))
    optimizer = torch.optim.AdamW(model.parameters())
    model(tokens).sum().backward()
    optimizer.step()


def _resident(what: str) -> int:
    """Bytes of this process: now (``VmRSS``) or at most (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"no {what} in /proc/self/status")


def conversion() -> dict[str, float]:
    """Seconds and bytes of the conversion of a model of 7 billion parameters on the meta device."""
    cimsim.convert(Shape(HEAD_WIDTH, 1).build("meta"), PROFILE)
    model = Shape(*LARGE["6.6 B"], LARGE_VOCABULARY).build("meta")
    before, began = _resident("VmRSS"), time.process_time()
    cimsim.convert(model, PROFILE, inplace=True)
    seconds = time.process_time() - began
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "parameters": parameters,
        "seconds": seconds,
        "bytes": _resident("VmRSS") - before,
        "layers": len(cimsim.nn.analog_layers(model)),
    }


@dataclass(frozen=True)
class Law:
    """``bytes = process + b L + max(12 P + kept, 16 P)``, ``kept = c W T + k w T + 12 V T``, and
    ``seconds = d P + e P T``.

    ``P`` parameters, ``L`` weights of the largest layer, ``T`` tokens, ``w`` width, ``W`` width
    times depth, ``V`` vocabulary.
    """

    process: float
    per_layer: float
    per_token: float  # and width, of each block
    per_vector: float  # and width, of one block at a time
    s_per_parameter: float
    s_per_product: float
    worst: float  # factor by which the memory of a measured row lies off

    @classmethod
    def of(cls, rows: list[Row], arm: str) -> Law:
        """Least squares of relative errors, nothing negative. A recomputed block keeps its input,
        so c is 4 bytes; else k is 0."""
        recomputed = arm == ARMS[-1]
        shapes = [Shape(*SHAPES[row.millions]) for row in rows]

        def law(free: Sequence[float], *times: float) -> Law:
            process, per_layer, per_token = free
            tokens = (4.0, per_token) if recomputed else (per_token, 0.0)
            return cls(1e6 * process, per_layer, *tokens, *(times or (0.0, 0.0)), 1.0)

        def errors(free: Sequence[float]) -> list[float]:
            found = law(free)
            return [
                math.log(found.peak(shape, row.tokens) / row.peak_bytes)
                for shape, row in zip(shapes, rows, strict=True)
            ]

        free = least_squares(errors, (5.0, 5.0, 50.0), bounds=(0.0, np.inf)).x
        products = [
            [row.parameters / row.seconds, row.parameters * row.tokens / row.seconds]
            for row in rows
        ]
        times, _ = nnls(np.array(products), np.ones(len(rows)))
        worst = math.exp(max(map(abs, errors(free))))
        return replace(law(free, *map(float, times)), worst=worst)

    def peak(
        self, shape: Shape, tokens: int, state: tuple[int, int] = (16, 4), share: int = 1
    ) -> float:
        """Bytes of one process, of ``share`` that hold the parameters together; ``state`` as in
        :data:`STATES`."""
        per_token = self.per_token * shape.depth + self.per_vector
        kept = per_token * shape.width * tokens + _answers(shape, tokens)
        states, gradient = (each * shape.parameters / share for each in state)
        together = _together(shape) if share > 1 else 0.0
        return (
            self.process
            + self.per_layer * shape.largest
            + together
            + max(states - gradient + kept, states)
        )

    def seconds(self, shape: Shape, tokens: int) -> float:
        """Processor seconds of a step."""
        return shape.parameters * (self.s_per_parameter + self.s_per_product * tokens)


def _answers(shape: Shape, tokens: int) -> float:
    """Bytes of the logits, of their logarithmic softmax and of their gradient, in float32."""
    return 3.0 * 4 * shape.vocabulary * tokens


def _together(shape: Shape) -> float:
    """Bytes of what FSDP gathers: two blocks (one computes, the next is on its way) with the
    gradient of one, or the embedding and the head; all in float32."""
    block, ends = 12 * shape.width**2, 2 * shape.vocabulary * shape.width
    return 4.0 * max(3 * block, 2 * ends)


def largest_model(law: Law, state: tuple[int, int], share: int) -> float:
    """Billions of parameters of the largest GPT that fits; its depth grows with its width."""
    best = 0.0
    for width in range(1024, 40960, 64):
        shape = Shape(width, max(1, round(width / 128)), LARGE_VOCABULARY)
        if law.peak(shape, LARGE_TOKENS, state, share) <= 0.9e9 * GPU_GB:
            best = max(best, shape.parameters / 1e9)
    return best


def draw(rows: list[Row], laws: dict[str, Law]) -> Figure:
    """Memory and time over parameters: filled is measured, hollow and dashed extrapolated."""
    figure = Figure(figsize=(9.0, 4.6), dpi=150, layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    tokens = DRAWN
    for at, arm in enumerate(ARMS):
        mine = [row for row in rows if row.arm == arm and row.tokens == tokens]
        small = [Shape(*SHAPES[row.millions]) for row in mine]
        large = [Shape(*shape) for shape in LARGE.values()]
        memory = [laws[arm].peak(shape, tokens) / 1e9 for shape in (*small, *large)]
        times = [1e3 * laws[arm].seconds(shape, tokens) / tokens for shape in (*small, *large)]
        parameters = [shape.parameters for shape in (*small, *large)]
        for axes, found, fitted in (
            (left, [row.peak_bytes / 1e9 for row in mine], memory),
            (right, [1e3 * row.seconds / tokens for row in mine], times),
        ):
            style = {"color": COLORS[at], "marker": MARKERS[at], "ls": "none", "markersize": 6}
            axes.plot(parameters, fitted, color=COLORS[at], ls="--", lw=1)
            axes.plot(parameters[: len(mine)], found, label=arm, **style)
            carried_on = parameters[len(mine) :], fitted[len(mine) :]
            axes.plot(*carried_on, markerfacecolor="white", **style)
    left.axhline(GPU_GB, color="#555555", lw=1)
    left.annotate(f"one GPU, {GPU_GB} GB", (1e6, GPU_GB * 1.15), color="#555555", fontsize=9)
    _dress(left, f"Peak memory of a step (GB), {tokens} tokens")
    _dress(right, f"Processor time per token (ms), {tokens} tokens")
    left.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.88))
    figure.suptitle(
        "One Adam step in float32, one thread; filled: measured, hollow: extrapolated",
        fontsize=11,
    )
    return figure


def _dress(axes: Axes, label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="Parameters", ylabel=label)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def report(rows: list[Row], laws: dict[str, Law], converted: dict[str, float]) -> str:
    """All of it as Markdown."""
    sizes = ",".join(dict.fromkeys(str(row.millions) for row in rows))
    lines = [
        "# Growth",
        "",
        f"`python -m benchmarks.growth --sizes {sizes}`: one training step (forward, backward, "
        f"Adam) of a GPT on one thread, in float32, with windows of {LENGTH} tokens. *Analog* is "
        f"`{PROFILE}`, with every layer on a new chip in every forward pass; *recomputed* does "
        "not keep the activations of a block. Memory is the peak memory of the process minus its "
        "memory before the model was built; time is the processor time of the fastest of a few "
        "steps.",
        "",
        "![Memory and time](growth.png)",
        "",
        "## Measured",
        "",
        "| parameters | arm | tokens | MB | bytes/parameter | fitted (MB) | ms/token |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        by_law = laws[row.arm].peak(Shape(*SHAPES[row.millions]), row.tokens)
        lines.append(
            f"| {row.parameters / 1e6:.2f} M | {row.arm} | {row.tokens:,} | "
            f"{row.peak_bytes / 1e6:,.0f} | {row.peak_bytes / row.parameters:.1f} | "
            f"{by_law / 1e6:,.0f} | {1e3 * row.seconds / row.tokens:.2f} |"
        )
    lines += ["", *_laws(laws), "", *_carried_on(laws), "", *_conversion(converted), ""]
    return "\n".join([*lines, versions(), ""])


def _laws(laws: dict[str, Law]) -> list[str]:
    lines = [
        "## Fitted formulas",
        "",
        "A step needs p + b L + max(12 P + K, 16 P) bytes, with K = (c W + k w + 12 V) T, and "
        "takes d P + e P T seconds. P is the number of parameters, L the number of weights of "
        "the largest layer, w the width, W the width times the depth, V the size of the "
        "vocabulary, and T the number of tokens in a step. p, b, d, e and one of c and k are "
        "fitted to the rows above by least squares of the relative errors; the other terms "
        "follow from the code.",
        "",
        "| arm | p (MB) | b (bytes) | c (bytes) | k (bytes) | d (ns) | e (ns) | largest error of "
        "memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for arm, law in laws.items():
        times = f"{1e9 * law.s_per_parameter:.2f} | {1e9 * law.s_per_product:.3f}"
        lines.append(
            f"| {arm} | {law.process / 1e6:.1f} | {law.per_layer:.1f} | {law.per_token:.1f} | "
            f"{law.per_vector:.1f} | {times} | {100 * (law.worst - 1):.0f} % |"
        )
    return [
        *lines,
        "",
        "The terms have these causes. A weight, its gradient and Adam's two moments take 4 bytes "
        "each. The backward pass frees the kept tensors (K) while it creates the gradients, so "
        "the peak is either before the backward pass (12 P + K) or at its end (16 P). Without "
        "recomputation, each block keeps some vectors per token (c W T); with recomputation, "
        "each block keeps only its input (c = 4), and one block at a time keeps all of its "
        "vectors (k w T). In addition, the step keeps the logits, their log-softmax and its "
        "gradient (12 V T). A chip exists only during the forward or backward pass of one layer, "
        "so the memory of the simulator is proportional to the weights of the largest layer (b), "
        "not of the model. Programming takes the same time for every batch size (d); the time of "
        "the products is proportional to the number of tokens (e).",
    ]


def _carried_on(laws: dict[str, Law]) -> list[str]:
    lines = [
        f"## Extrapolation to 1 to 10 billion parameters ({LARGE_TOKENS:,} tokens per step on "
        "each GPU)",
        "",
        "This part is computed, not measured. A parameter takes 16, 12 or 8 bytes, depending on "
        "the dtypes of weight, gradient and Adam's moments; b, c and k are the fitted values, "
        "for activations in float32. FSDP distributes the parameters over the GPUs; in addition, "
        "each GPU holds the complete weights of two blocks and the gradients of one, or the "
        "embedding and the head with their gradients (float32). The vocabulary is "
        f"{LARGE_VOCABULARY:,}. Windows have up to 2,048 tokens, and attention does not keep a "
        "matrix of all pairs. Memory in GB:",
        "",
        "| parameters | arm | "
        + " | ".join(f"{name}, one GPU" for name in STATES)
        + f" | float32, each of {GPUS} GPUs |",
        "|---:|---|" + "---:|" * (len(STATES) + 1),
    ]
    for shape in (Shape(*s, LARGE_VOCABULARY) for s in LARGE.values()):
        for arm, law in laws.items():
            one = [law.peak(shape, LARGE_TOKENS, state) / 1e9 for state in STATES.values()]
            all_of_them = law.peak(shape, LARGE_TOKENS, STATES["float32"], GPUS) / 1e9
            cells = [
                f"{gb:,.0f}" + ("" if gb < 0.9 * GPU_GB else " (too large)")
                for gb in (*one, all_of_them)
            ]
            lines.append(f"| {shape.parameters / 1e9:.1f} B | {arm} | {' | '.join(cells)} |")
    lines += [
        "",
        "Number of parameters, in billions, of the largest GPT (depth = width / 128) that fits "
        f"into nine tenths of {GPU_GB} GB:",
        "",
        "| arm | "
        + " | ".join(f"{name}, one GPU" for name in STATES)
        + f" | float32, {GPUS} GPUs |",
        "|---|" + "---:|" * (len(STATES) + 1),
    ]
    for arm, law in laws.items():
        found = [largest_model(law, state, 1) for state in STATES.values()]
        found.append(largest_model(law, STATES["float32"], GPUS))
        lines.append(f"| {arm} | " + " | ".join(f"{n:.1f}" for n in found) + " |")
    return [
        *lines,
        "",
        "Limitations: b was measured with the CPU kernels, which program a weight in one pass; "
        "in plain torch on a GPU, every effect of a profile allocates a temporary tensor. The "
        "multi-tensor implementation of Adam, which torch prefers on a GPU, needs about 4 more "
        "bytes per parameter during its step. The allocator of a GPU wastes some memory. "
        "bfloat16 weights lose small updates, and chips are programmed from the rounded weights. "
        "With `--parallel shard`, each process first builds the whole model in CPU memory (4 "
        "bytes per parameter), and then keeps its part.",
    ]


def _conversion(converted: dict[str, float]) -> list[str]:
    return [
        "## Conversion on the meta device (measured)",
        "",
        f"`cimsim.convert` of a GPT with {converted['parameters'] / 1e9:.2f} billion parameters "
        f"on the meta device converts {converted['layers']} layers, and needs "
        f"{converted['seconds']:.2f} s of processor time and {converted['bytes'] / 1e6:.1f} MB of "
        "additional resident memory.",
    ]


if __name__ == "__main__":
    main()
