"""The same task in cimsim, AIHWKit and CrossSim: lines of code, seconds, accuracy over noise.

    python -m benchmarks.same_task

Runs the unchanged program in this folder for each library that is installed, and writes
benchmarks/results/same_task.md and one picture per program. Missing libraries are listed as not run
here. CrossSim is not a package: put its folder on PYTHONPATH.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import runpy
import subprocess
import sys
import time
import tokenize
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.lines import versions
from benchmarks.same_task.task import CHIPS, EPOCHS, LEVELS, NOISE, TRAINING_NOISE
from benchmarks.speed import processor
from cimsim.files import write_text

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"


class Program(NamedTuple):
    """A program of this folder and the library that it needs."""

    library: str
    module: str
    package: str

    @property
    def name(self) -> str:
        return "with_" + self.library.lower()

    @property
    def picture(self) -> str:
        return f"same_task_{self.library.lower()}.png"


PROGRAMS = (
    Program("cimsim", "cimsim", "cimsim-torch"),
    Program("AIHWKit", "aihwkit", "aihwkit"),
    Program("CrossSim", "simulator", "CrossSim"),
)


class Outcome(NamedTuple):
    """Seconds of the processor, and mean and spread over chips in % per level."""

    seconds: float
    means: list[float]
    spreads: list[float]


class Lines(NamedTuple):
    """Lines of code of a file, and how many of them are imports."""

    all: int
    imports: int


def lines_of(path: Path) -> Lines:
    """Count lines with code: neither blank, nor only a comment, nor of the module's docstring.

    The import of the shared file is not counted, because its length depends on the names in it.
    """
    code: set[int] = set()
    imports: set[int] = set()
    statement: list[tokenize.TokenInfo] = []
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
    ignored |= {tokenize.INDENT, tokenize.DEDENT}
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in ignored:
                continue
            if token.type != tokenize.NEWLINE:
                statement.append(token)
                continue
            text = " ".join(part.string for part in statement)
            shared = text.startswith("from benchmarks . same_task . task ")
            if not shared and any(part.type != tokenize.STRING for part in statement):
                its = {n for part in statement for n in range(part.start[0], part.end[0] + 1)}
                code |= its
                if statement[0].string in ("import", "from"):
                    imports |= its
            statement = []
    return Lines(len(code), len(imports))


def execute(name: str) -> None:
    """Run one program in this process and print its outcome as JSON."""
    import torch

    torch.set_num_threads(1)
    found: dict[str, Any] = runpy.run_module(f"benchmarks.same_task.{name}")
    seconds = time.process_time()
    if "results" in found:
        (points,) = found["results"].points.values()
        means, spreads = [100 * p.mean for p in points], [100 * p.std for p in points]
    else:
        accuracies = found["accuracies"]
        means, spreads = accuracies.mean(1).tolist(), accuracies.std(1).tolist()
    print(json.dumps(Outcome(seconds, means, spreads)))


def outcome(program: Program) -> Outcome | None:
    """Run a program in a process of its own; None if its library is missing."""
    if importlib.util.find_spec(program.module) is None:
        return None
    paths = [str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "benchmarks.same_task", program.name]
    done = subprocess.run(
        command,
        cwd=RESULTS,
        env=variables | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Outcome(*json.loads(done.stdout.splitlines()[-1]))


def version(program: Program) -> str:
    """The version of a program's library."""
    if program.library == "cimsim":
        import cimsim

        return cimsim.__version__
    try:
        return metadata.version(program.package)
    except metadata.PackageNotFoundError:
        return "3.2.0, from its repository" if program.library == "CrossSim" else "unknown"


def page(outcomes: dict[Program, Outcome | None]) -> str:
    """The results as a page."""
    lines = [
        "# The same task in three libraries",
        "",
        "    python -m benchmarks.same_task",
        "",
        "Each program trains a perceptron of 64-64-10 units for a chip on 1000 digits of "
        f"scikit-learn, programs {CHIPS} chips at each of {len(LEVELS)} levels of noise, and "
        "draws the accuracy over noise with mean and spread. All programs share the file "
        "`benchmarks/same_task/task.py`, which contains the data, the network, and the function "
        "that computes an accuracy; neither this file nor its import is counted.",
        "Lines are lines of code after `ruff format`, without blank lines, comments and "
        "docstrings. Seconds are processor time of the whole program, including imports, on one "
        "thread; other work on the machine changes them little.",
        "",
        "| | program | lines | import lines | seconds |",
        "|---|---|---|---|---|",
    ]
    for program, found in outcomes.items():
        counted = lines_of(HERE / f"{program.name}.py")
        seconds = f"{found.seconds:.0f}" if found else "not run here"
        file = f"`benchmarks/same_task/{program.name}.py`"
        cells = [program.library, file, str(counted.all), str(counted.imports), seconds]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Test accuracy in % (797 digits): mean ± standard deviation over chips. Noise is a factor "
        f"on an error of {100 * NOISE:g} % of the largest weight.",
        "",
        f"| | {' | '.join(f'noise {level}' for level in LEVELS)} | |",
        f"|---|{'---|' * len(LEVELS)}---|",
    ]
    for program, found in outcomes.items():
        cells = [program.library, *["not run here"] * len(LEVELS), ""]
        if found:
            values = zip(found.means, found.spreads, strict=True)
            texts = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in values]
            cells = [program.library, *texts, f"[picture]({program.picture})"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *_notes(), "", _environment(outcomes), ""]
    return "\n".join(lines)


def _notes() -> list[str]:
    return [
        "The chips are as similar as the libraries allow: a pair of cells per weight, Gaussian "
        "programming errors that do not depend on the conductance, 8-bit converters without "
        "noise, arrays of 512 rows, and no aging. Remaining differences:",
        "",
        "- cimsim scales weights per column, CrossSim per array, and AIHWKit per column at the "
        "start of training.",
        f"- Training uses {TRAINING_NOISE:g} times the noise, {EPOCHS} epochs, and Adam. For each "
        "library, the learning rate is the one of 0.003, 0.01 and 0.03 with the best mean test "
        "accuracy over all levels.",
        "- AIHWKit uses a different noise for training (`modifier`) than for programming, and "
        "clips weights per array. CrossSim has neither clipping nor a schedule; cimsim uses its "
        "defaults of both.",
        "- CrossSim trains without converters here, because their ranges are set manually from "
        "the signals of the trained network. AIHWKit learns its input ranges, and uses its "
        "default range of the ADC. cimsim calibrates the ranges in `NoiseAware`.",
        "- AIHWKit has presets, which would replace most lines with `config.`, but none of them "
        "describes this chip.",
        "- In cimsim, `over=` lists the levels of noise; the other programs contain the loops "
        "over levels and chips, and draw the figure.",
        "",
        "Each accuracy comes from one training, so the variation between trainings is unknown. "
        "The accuracies show that all three programs do the task, not which library trains "
        "better.",
    ]


def _environment(outcomes: dict[Program, Outcome | None]) -> str:
    libraries = [
        f"{program.library} {version(program)}"
        for program, found in outcomes.items()
        if found and program.library != "cimsim"
    ]
    return f"{'; '.join([*libraries, versions()])} {processor()}, {datetime.date.today()}."


def main() -> None:
    """See the module."""
    if len(sys.argv) > 1:
        execute(sys.argv[1])
        return
    outcomes: dict[Program, Outcome | None] = {}
    for program in PROGRAMS:
        outcomes[program] = found = outcome(program)
        text = "not run here" if found is None else f"{found.seconds:.0f} s"
        print(f"{program.library}: {text}", flush=True)
    write_text(RESULTS / "same_task.md", page(outcomes))


if __name__ == "__main__":
    main()
