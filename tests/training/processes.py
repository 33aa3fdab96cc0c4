"""What ``torchrun`` starts, without its agent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cimsim.training.run import Run

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
EXACT = {**SMALL, "profile": "ideal", "clip_sigma": 0.0}


def start(count: int, command: list[str]) -> list[subprocess.Popen[str]]:
    """``count`` times Python with these arguments, each told which it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for rank in range(count):
        env = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        arguments = [sys.executable, *command]
        found.append(subprocess.Popen(arguments, env=env, stderr=subprocess.PIPE, text=True))
    return found


def processes(count: int, settings: dict[str, Any], out: Path) -> list[subprocess.Popen[str]]:
    """Processes that train in ``out``."""
    return start(count, ["-c", _TRAIN, json.dumps(settings), str(out)])


def together(count: int, settings: dict[str, Any], out: Path) -> Run:
    """What they come to."""
    errors = [process.communicate(timeout=240)[1] for process in processes(count, settings, out)]
    assert (out / "result.json").is_file(), errors
    return Run.open(out)


def wait_for(path: Path) -> None:
    """Until it is there."""
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Without the counts of chips met."""
    found = load_file(run.path / "model.safetensors")
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def metrics(path: Path) -> list[dict[str, Any]]:
    """A line for each epoch."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
