"""Kill trainings and sweeps at random moments, go on with them, and compare every file.

``python -m tests.fuzz.kills --count 200`` kills 200 times by ``SIGKILL``, and ends with code 1 if a
file differs from that of a training or sweep that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.training import trainer as trainer_module
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.subjects import sweep

_UNEQUAL = ("seconds",)  # of an epoch, which takes as long as it takes
_MOST_KILLS = 6  # of one training, which then runs to its end
_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"quantize_weights": "lsq:bits=4", "average": 0.9, "layer": ("hidden1:profile=ideal",)},
    {"model": "tests.training.networks:dropout_net", "optimizer": "sgd", "audit": 2},
)

Work = Callable[[], object]


def training(settings: dict[str, Any], out: Path) -> Work:
    """A training of a second, with a checkpoint after every step."""
    usual = {"profile": "pcm-ibm-2020", "epochs": 3, "limit": 120, "batch_size": 30, "seed": 7}
    config = make_config(**{**usual, **settings})

    def work() -> object:
        trainer_module.CHECKPOINT_SECONDS = -1.0
        return fit(config, out, resume=True)

    return work


def sweeping(out: Path) -> Work:
    """A sweep of the run in ``out``."""
    return lambda: sweep([Run.open(out, trust=True)], parse_axis("noise=0:3:1"), 3, samples=100)


def killed(work: Work, after_s: float) -> bool:
    """Do ``work`` in a process of its own and kill that; whether it had not ended by then."""
    with warnings.catch_warnings():  # Python 3.12 remarks that torch has threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # which leaves without the parent's handlers and buffers
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + after_s
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.waitstatus_to_exitcode(status):
                raise RuntimeError("what was to be killed failed by itself")
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def content(path: Path, root: Path) -> bytes | list[dict[str, Any]]:
    """What a file holds, without what differs between two undisturbed runs."""
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [
            {k: v for k, v in row.items() if k not in (*_UNEQUAL, "run", "sha256")} for row in rows
        ]
        return sorted(kept, key=lambda row: json.dumps(row))
    found = path.read_bytes()
    if path.name == "SHA256SUMS":  # those of the files that differ
        lines = found.splitlines(keepends=True)
        return b"".join(line for line in lines if not line.endswith(b"  metrics.jsonl\n"))
    if path.name == "sweep.json":  # its seal covers the name of the run
        plan = {key: value for key, value in json.loads(found).items() if key != "sha256"}
        found = json.dumps(plan).encode()
    return found.replace(root.name.encode(), b"RUN")


def files(root: Path) -> dict[str, bytes | list[dict[str, Any]]]:
    """Every file below ``root`` but temporary ones that a killed process left."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".part"]
    return {path.relative_to(root).as_posix(): content(path, root) for path in paths}


def differences(one: Path, other: Path) -> list[str]:
    """Names of the files that differ between two runs."""
    found, expected = files(one), files(other)
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


def kills(
    count: int, folder: Path, seed: int = 0, say: Callable[[str], None] = print
) -> Counter[str]:
    """Kill ``count`` processes within ``folder``; returns how many of each kind, and the files that
    differ, whose names begin with ``DIFFERS``."""
    torch.set_num_threads(1)
    chance, seen = random.Random(seed), Counter[str]()
    straight: list[tuple[Path, list[float]]] = []
    for number, settings in enumerate(_SETTINGS):
        out = folder / f"straight-{number}"
        took = []
        for work in (training(settings, out), sweeping(out)):
            began = time.monotonic()
            work()
            took.append(time.monotonic() - began)
        straight.append((out, took))
    round_number = 0
    while seen["training"] + seen["sweep"] < count:
        number = round_number % len(_SETTINGS)
        reference, took = straight[number]
        out = folder / f"killed-{round_number}"
        round_number += 1
        for kind, work, usual_s in (
            ("training", training(_SETTINGS[number], out), took[0]),
            ("sweep", sweeping(out), took[1]),
        ):
            for _ in range(_MOST_KILLS):
                if seen["training"] + seen["sweep"] >= count:
                    break
                if not killed(work, chance.uniform(0, 1.1 * usual_s)):
                    seen[f"{kind} that had ended"] += 1
                    break
                seen[kind] += 1
            work()
        for name in differences(out, reference):
            seen[f"DIFFERS {out.name}/{name}"] += 1
        seen["runs compared"] += 1
        shutil.rmtree(out)
        if round_number % 10 == 0:
            say(f"{seen['training']} trainings and {seen['sweep']} sweeps killed")
    return seen


def main() -> int:
    """Run from the command line; the exit code says whether all files were equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = kills(given.count, Path(folder), given.seed)
    for name, number in sorted(seen.items()):
        print(f"{name}: {number}")
    return int(any(name.startswith("DIFFERS") for name in seen))


if __name__ == "__main__":
    sys.exit(main())
