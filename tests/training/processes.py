"""What ``torchrun`` starts, without its agent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cimsim.training.run import Run
from tests.children import all_ended, started

_TRAIN = """
import json, sys
from pathlib import Path
from cimsim.training.config import make_config
from cimsim.training.fit import fit
settings = json.loads(sys.argv[1])
resume = settings.pop("resume", False)
fit(make_config(**settings), Path(sys.argv[2]), resume=resume)
"""
SMALL = {"profile": "pcm-ibm-2020", "epochs": 2, "batch_size": 200, "lr": 0.003, "seed": 3}
# A linear optimizer: Adam divides a gradient near zero by itself, so rounding decides its sign.
EXACT = {**SMALL, "profile": "ideal", "clip_sigma": 0.0, "optimizer": "sgd", "lr": 0.1}


@contextmanager
def start(count: int, command: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """``count`` times Python with these arguments, each with its rank in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    with ExitStack() as stack:
        found = []
        for rank in map(str, range(count)):
            env = os.environ | common | {"RANK": rank, "LOCAL_RANK": rank}
            found += stack.enter_context(started([sys.executable, *command], env=env))
        yield found


@contextmanager
def processes(
    count: int, settings: dict[str, Any], out: Path
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that train in ``out``."""
    with start(count, ["-c", _TRAIN, json.dumps(settings), str(out)]) as found:
        yield found


def together(count: int, settings: dict[str, Any], out: Path) -> Run:
    """The run of several processes."""
    with processes(count, settings, out) as found:
        errors = all_ended(found)
    assert (out / "result.json").is_file(), errors
    return Run.open(out)


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Without the counts of chips met."""
    found = load_file(run.path / "model.safetensors")
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def metrics(path: Path) -> list[dict[str, Any]]:
    """A line for each epoch."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
