"""Many chips: networks on chips that drift, cells programmed per second, and a sweep.

    python -m benchmarks.chips [--threads 2] [--chips 10] [--name chips]

Networks: the MLP W1 of :mod:`benchmarks.workloads`, the CNN of the README on images of 28 x 28, and
ResNet-20, each on chips of ``pcm-ibm-2020`` at 8 ages from 1 s to 1 year. The digital network
processes the same inputs as many times; the two alternate. Cells: the weights of W1 are programmed
and aged, by cimsim and, if it is installed, by AIHWKit's model of the same device. Sweep: the MLP
of ``make demo`` on the digits, over 9 noise levels and 10 chips as in ``cimsim sweep``, with the
kernels and in plain torch. Writes ``benchmarks/results/NAME.md``.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import cimsim
from benchmarks import peers
from benchmarks.speed import processor
from benchmarks.workloads import WORKLOADS
from cimsim import kernels
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.sweep import sweep
from cimsim.files import write_text
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.models.cnn import cnn
from cimsim.training.run import Run

RESULTS = Path(__file__).parent / "results"
PROFILE = "pcm-ibm-2020"
AGES_S = (1.0, 60.0, 3600.0, 86400.0, 604800.0, 2592000.0, 7776000.0, 31557600.0)
ROUNDS = 3


class Network(NamedTuple):
    """A digital network, and inputs in batches."""

    model: Callable[[], nn.Module]
    batches: int
    shape: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.batches * self.shape[0]


NETWORKS = {
    "MLP 784-1024-1024-10": Network(WORKLOADS["W1"].model, 4, (500, 784)),
    "CNN on 28 x 28": Network(lambda: cnn((1, 28, 28), 10), 5, (100, 1, 28, 28)),
    "ResNet-20": Network(WORKLOADS["W2"].model, 4, (50, 3, 32, 32)),
}


def main() -> None:
    """Measure all three, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--name", default="chips", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chips = arguments.chips
    report = [
        "# Many chips",
        "",
        f"`python -m benchmarks.chips --threads {arguments.threads} --chips {chips}`. "
        f"{processor()}, {arguments.threads} threads, Python {platform.python_version()}, torch "
        f"{torch.__version__}, {_packages()}; best of {ROUNDS} rounds.",
        "",
        f"Time to evaluate networks on {chips} chips of `{PROFILE}` at {len(AGES_S)} ages, "
        "including programming and drift, compared with as many passes of the digital network:",
        "",
        "| network | inputs | on chips (s) | digital (s) | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, network in NETWORKS.items():
        on_chips, digital = drifted(network, chips)
        report.append(
            f"| {name} | {network.inputs} | {on_chips:.2f} | {digital:.2f} | "
            f"{on_chips / digital:.2f} |"
        )
        print(report[-1], flush=True)
    report += [
        "",
        "Cells programmed and aged per second (the MLP, with two cells per weight):",
        "",
        "| simulator | million cells/s |",
        "|---|---|",
        *(f"| {name} | {rate / 1e6:.1f} |" for name, rate in programmed()),
        "",
        "Time of a sweep over 9 noise levels on 10 chips, with the MLP of `make demo`:",
        "",
        "| computation | time (s) |",
        "|---|---|",
        *(f"| {how} | {seconds:.2f} |" for how, seconds in swept()),
        "",
    ]
    print("\n".join(report))
    write_text(RESULTS / f"{arguments.name}.md", "\n".join(report))


def _packages() -> str:
    found = {"cimsim": cimsim.__version__, **peers.versions()}
    return ", ".join(f"{name} {version}" for name, version in found.items())


@torch.no_grad()
def drifted(network: Network, chips: int) -> tuple[float, float]:
    """Seconds of all chips and ages, and of as many passes of the digital network."""
    torch.manual_seed(0)
    digital = network.model().eval()
    batches = torch.rand(network.batches, *network.shape)
    model = cimsim.convert(digital, PROFILE).eval()
    cimsim.calibrate(model, batches[:1])

    def on_chips() -> None:
        for chip in range(chips):
            cimsim.program(model, chip)
            for age_s in AGES_S:
                cimsim.age(model, age_s)
                for x in batches:
                    model(x)

    def digitally() -> None:
        for _ in range(chips * len(AGES_S)):
            for x in batches:
                digital(x)

    both = [(_seconds(on_chips), _seconds(digitally)) for _ in range(ROUNDS)]
    return min(ours for ours, _ in both), min(theirs for _, theirs in both)


@torch.no_grad()
def programmed() -> list[tuple[str, float]]:
    """Cells per second, by each tool: every weight on its pair, at every age of a new chip."""
    digital = WORKLOADS["W1"].model()
    weights = [module.weight for module in digital.modules() if isinstance(module, nn.Linear)]
    cells = 2 * sum(weight.numel() for weight in weights) * len(AGES_S)
    model = cimsim.convert(digital, PROFILE).eval()
    x = torch.rand(1, 784)
    cimsim.calibrate(model, [x])

    def by_cimsim() -> None:
        cimsim.program(model, 0)
        for age_s in AGES_S:
            cimsim.age(model, age_s)
            model(x)  # cells are computed when they are read

    rows = {"cimsim, with a read of one input": by_cimsim}
    try:
        noise = importlib.import_module("aihwkit.inference").PCMLikeNoiseModel(g_max=25.0)
    except ImportError:
        print("AIHWKit is not installed: skipped")
    else:
        rows["AIHWKit, `PCMLikeNoiseModel`"] = lambda: _by_aihwkit(noise, weights)
    times = [[_seconds(run) for run in rows.values()] for _ in range(ROUNDS)]
    return [
        (name, cells / min(seconds))
        for name, seconds in zip(rows, zip(*times, strict=True), strict=True)
    ]


def _by_aihwkit(noise: Any, weights: list[Tensor]) -> None:
    for weight in weights:
        programmed, drift = noise.apply_programming_noise(weight)
        for age_s in AGES_S:
            noise.apply_drift_noise(programmed, drift, age_s)


def swept() -> list[tuple[str, float]]:
    """Seconds of a sweep on a trained model."""
    axis = parse_axis("noise=0:8:1")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(data="digits", model="mlp", profile=PROFILE, epochs=1)
        fit(config, Path(folder) / "run")
        for which in ("fused", "torch"):

            def once(which: kernels.Use = which) -> None:  # type: ignore[assignment]
                run = Run.open(Path(folder) / "run")
                for store in (run.path / "sweeps").glob("**/*"):
                    if store.is_file():
                        store.unlink()
                with kernels.use(which):
                    sweep([RunSubject(run)], axis, Evaluation(10))

            how = "with the kernels" if which == "fused" else "in plain torch"
            found.append((how, min(_seconds(once) for _ in range(ROUNDS))))
    return found


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
