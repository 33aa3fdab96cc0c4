"""Training by several processes: equal to one, reproducible, killed, resumed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.parallel import Ranks
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


def processes(count: int, settings: dict[str, Any], out: Path) -> list[subprocess.Popen[str]]:
    """What ``torchrun`` starts, without its agent."""
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
        command = [sys.executable, "-c", _TRAIN, json.dumps(settings), str(out)]
        found.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    return found


def together(count: int, settings: dict[str, Any], out: Path) -> Run:
    errors = [process.communicate(timeout=240)[1] for process in processes(count, settings, out)]
    assert (out / "result.json").is_file(), errors
    return Run.open(out)


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Without the counts of chips met."""
    found = load_file(run.path / "model.safetensors")
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "digital", "model": "mlp", "average": 0.9},
        {"objective": ("lotion:bits=4,weight=100",), "optimizer": "sgd", "lr": 0.1},
    ],
    ids=str,
)
def test_two_processes_are_one_where_nothing_is_random(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """1437 digits in batches of 200: the last batch has 37, shared as 19 and 18."""
    given = {**EXACT, **settings}
    one = fit(make_config(**given), tmp_path / "one")
    two = together(2, given, tmp_path / "two")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-3, atol=1e-4, equal_nan=True)
    losses = [[m["train_loss"] for m in metrics(run.path)] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert two.result["digital_accuracy"] == pytest.approx(one.digital_accuracy, abs=0.006)


def test_with_noise_they_are_reproducible_and_meet_different_chips(tmp_path: Path) -> None:
    runs = [together(2, SMALL, tmp_path / name) for name in ("a", "b")]
    assert runs[0].checkpoint_sha256 == runs[1].checkpoint_sha256
    alone = fit(make_config(**SMALL), tmp_path / "alone")
    assert alone.checkpoint_sha256 != runs[0].checkpoint_sha256


def test_a_killed_process_ends_all_and_any_number_goes_on(tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": 15}
    out = tmp_path / "run"
    pair = processes(2, settings, out)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    pair[1].send_signal(signal.SIGKILL)
    _, error = pair[0].communicate(timeout=120)
    pair[1].communicate(timeout=10)
    assert pair[0].returncode == 1
    assert "another process of this training has ended" in error
    assert "--resume" in error
    assert not (out / "result.json").exists()
    assert len(metrics(out)) < 15
    run = together(3, {**settings, "resume": True}, out)
    assert [m["epoch"] for m in metrics(out)] == list(range(1, 16))
    assert run.digital_accuracy > 0.9


def test_stopped_and_resumed_by_as_many_it_is_the_same_run(tmp_path: Path) -> None:
    settings = {**SMALL, "model": "tests.training.networks:dropout_net", "epochs": 3}
    straight = together(2, settings, tmp_path / "straight")
    pair = processes(2, {**settings}, tmp_path / "stopped")
    deadline = time.monotonic() + 120
    while not (tmp_path / "stopped" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in pair:
        process.kill()
        process.communicate()
    resumed = together(2, {**settings, "resume": True}, tmp_path / "stopped")
    assert resumed.checkpoint_sha256 == straight.checkpoint_sha256


def test_shares_of_a_batch() -> None:
    x = torch.arange(7)
    parts = [Ranks(rank, 3).share(x, 10 * x) for rank in range(3)]
    assert sorted(torch.cat([part[0] for part in parts]).tolist()) == list(range(7))
    assert sum(part[2] for part in parts) == pytest.approx(1)
    for few_x, few_y, share in (Ranks(rank, 3).share(x[:2], x[:2]) for rank in range(3)):
        assert few_x.tolist() == few_y.tolist() == [0, 1]
        assert share == pytest.approx(1 / 3)


def test_torchrun_trains(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "cimsim", "train", "--profile", "pcm-ibm-2020", "--epochs", "1"]
    done = subprocess.run(
        [*command, "--out", str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    assert (out / "result.json").is_file()


def test_a_step_in_parts_is_the_step(tmp_path: Path) -> None:
    whole = fit(make_config(**EXACT), tmp_path / "whole")
    parts = fit(make_config(**EXACT, accumulate=3), tmp_path / "parts")
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(
            weights(parts)[name], tensor, rtol=1e-3, atol=1e-4, equal_nan=True
        )
