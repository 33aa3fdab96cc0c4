"""Many chips: drifted evaluation of an MLP, and a sweep of noise levels.

    python -m benchmarks.chips [--threads 2]

Drifted evaluation: W1 of :mod:`benchmarks.workloads` on 10 chips of ``pcm-ibm-2020`` at 8 ages from
1 s to 1 year, 10,000 inputs each, beside as many forwards of the digital model. Sweep: the MLP of
``make demo`` over 9 noise levels and 10 chips on the digits, as ``cimsim sweep`` does it, with the
kernels and in plain torch. Writes ``benchmarks/results/chips.md``.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import torch

import cimsim
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
from cimsim.training.run import Run

RESULTS = Path(__file__).parent / "results"
AGES_S = (1.0, 60.0, 3600.0, 86400.0, 604800.0, 2592000.0, 7776000.0, 31557600.0)
CHIPS, INPUTS = 10, 10_000


def main() -> None:
    """Measure both, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [*drifted(), *swept()]
    report = "\n".join(
        [
            "# Many chips",
            "",
            f"`python -m benchmarks.chips --threads {arguments.threads}`. {processor()}, "
            f"{arguments.threads} threads, Python {platform.python_version()}, torch "
            f"{torch.__version__}, cimsim {cimsim.__version__}; best of 3.",
            "",
            "| what | s |",
            "|---|---|",
            *(f"| {what} | {seconds:.2f} |" for what, seconds in rows),
            "",
        ]
    )
    print(report)
    write_text(RESULTS / "chips.md", report)


@torch.no_grad()
def drifted() -> list[tuple[str, float]]:
    """Seconds of 8 ages on 10 chips, and of 80 digital forwards."""
    torch.manual_seed(0)
    digital = WORKLOADS["W1"].model().eval()
    x = torch.rand(INPUTS, 784)
    model = cimsim.convert(digital, "pcm-ibm-2020").eval()
    cimsim.calibrate(model, [x[:1000]])

    def on_chips() -> None:
        for chip in range(CHIPS):
            cimsim.program(model, chip)
            for age_s in AGES_S:
                cimsim.age(model, age_s)
                model(x)

    def digitally() -> None:
        for _ in range(CHIPS * len(AGES_S)):
            digital(x)

    what = f"{len(AGES_S)} ages x {CHIPS} chips x {INPUTS} inputs"
    return [
        (f"W1, {what}: cimsim, programming and drift included", _best(on_chips)),
        (f"W1, {what}: the same forwards of the digital model", _best(digitally)),
    ]


def swept() -> list[tuple[str, float]]:
    """Seconds of a sweep on a trained model."""
    axis = parse_axis("noise=0:8:1")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(data="digits", model="mlp", profile="pcm-ibm-2020", epochs=1)
        fit(config, Path(folder) / "run")
        for which in ("fused", "torch"):

            def once(which: kernels.Use = which) -> None:  # type: ignore[assignment]
                run = Run.open(Path(folder) / "run")
                for store in (run.path / "sweeps").glob("**/*"):
                    if store.is_file():
                        store.unlink()
                with kernels.use(which):
                    sweep([RunSubject(run)], axis, Evaluation(CHIPS))

            how = "with the kernels" if which == "fused" else "in plain torch"
            cells = len(axis.values) * CHIPS
            found.append((f"digits MLP, sweep of {cells} cells, {how}", _best(once)))
    return found


def _best(run: object, times: int = 3) -> float:
    assert callable(run)
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
