"""What ``torchrun`` starts, without its agent."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cimsim.training import trainer as trainer_module
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.children import all_ended
from tests.forks import Fork, forked

SMALL = {"profile": "pcm-ibm-2020", "epochs": 2, "batch_size": 200, "lr": 0.003, "seed": 3}
# A linear optimizer: Adam divides a gradient near zero by itself, so rounding decides its sign.
EXACT = {**SMALL, "profile": "ideal", "clip_sigma": 0.0, "optimizer": "sgd", "lr": 0.1}


@contextmanager
def start(count: int, call: Callable[..., object], *arguments: object) -> Iterator[list[Fork]]:
    """``count`` times the same call, each with its rank in the environment."""
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
    envs = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in map(str, range(count))]
    with forked(call, [arguments] * count, envs) as found:
        yield found


@contextmanager
def processes(
    count: int, settings: dict[str, Any], out: Path, kill: tuple[int, int] | None = None
) -> Iterator[list[Fork]]:
    """Processes that train in ``out``; ``kill`` is a rank and the step in which it is killed."""
    with start(count, _train, settings, out, kill) as found:
        yield found


def _train(settings: dict[str, Any], out: Path, kill: tuple[int, int] | None) -> None:
    if kill and os.environ["RANK"] == str(kill[0]):
        _die_in_step(kill[1])
    resume = settings.get("resume", False)
    given = {name: value for name, value in settings.items() if name != "resume"}
    fit(make_config(**given), out, resume=resume)


def _die_in_step(number: int) -> None:
    real, steps = trainer_module.Trainer._train_step, itertools.count(1)

    def step(self: Any, *batch: Any) -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *batch)

    trainer_module.Trainer._train_step = step  # type: ignore[method-assign]


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
