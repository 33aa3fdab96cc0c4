"""Training by several processes: equal to one, reproducible, killed, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.training import trainer as trainer_module
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.parallel import Ranks, joined
from tests.children import all_ended, ended, started
from tests.training.processes import EXACT, SMALL, metrics, processes, start, together, weights


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "digital", "model": "mlp", "average": 0.9},
        {"objective": ("lotion:bits=4,weight=0.5",)},
        {"corrector": "sam:rho=0.5", "method": "digital", "epochs": 1},
    ],
    ids=str,
)
def test_two_processes_are_one_where_nothing_is_random(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """437 digits in batches of 200: the last batch has 37, shared as 19 and 18."""
    given = {**EXACT, "limit": 437, **settings}
    one = fit(make_config(**given), tmp_path / "one")
    two = together(2, given, tmp_path / "two")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-3, atol=1e-4, equal_nan=True)
    losses = [[m["train_loss"] for m in metrics(run.path)] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert two.result["digital_accuracy"] == pytest.approx(one.digital_accuracy, abs=0.006)


def test_with_noise_they_are_reproducible_and_meet_different_chips(tmp_path: Path) -> None:
    settings = {**SMALL, "limit": 437}
    runs = [together(2, settings, tmp_path / name) for name in ("a", "b")]
    assert runs[0].checkpoint_sha256 == runs[1].checkpoint_sha256
    alone = fit(make_config(**settings), tmp_path / "alone")
    assert alone.checkpoint_sha256 != runs[0].checkpoint_sha256


def train_and_compare(settings: dict[str, Any], out: Path) -> None:
    """In each of two processes: the parameters of both are equal at the end of the epoch."""
    real = trainer_module.Trainer._end_epoch

    def end(self: Any, seconds: float) -> None:
        for name, parameter in self.model.named_parameters():
            both = self.ranks.gather(parameter.detach())
            torch.testing.assert_close(*both, rtol=0, atol=0, equal_nan=True, msg=name)
        real(self, seconds)

    trainer_module.Trainer._end_epoch = end  # type: ignore[method-assign]
    fit(make_config(**settings), out)


@pytest.mark.parametrize("changes", [{"method": "digital"}, {"warmup": 0.9}], ids=str)
def test_quantizers_that_the_first_batch_sets_are_alike(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**SMALL, "epochs": 1, "limit": 600, "model": "mlp", **changes}
    settings["quantize_inputs"] = "lsq:bits=4"
    with start(2, train_and_compare, settings, tmp_path / "run") as pair:
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors


@pytest.mark.long
def test_a_killed_process_ends_all_and_any_number_goes_on(tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": 4, "batch_size": 60}
    out = tmp_path / "run"
    with processes(2, settings, out, kill=(1, 30)) as pair:
        error = all_ended(pair)[0]
    assert [process.returncode for process in pair] == [1, -signal.SIGKILL]
    assert "another process of the training has ended" in error
    assert "--resume" in error
    assert not (out / "result.json").exists()
    assert len(metrics(out)) == 1
    run = together(3, {**settings, "resume": True}, out)
    assert [m["epoch"] for m in metrics(out)] == [1, 2, 3, 4]
    assert run.digital_accuracy > 0.9


def test_a_connection_lost_in_the_middle_of_calibration_is_reported_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sharded parameters meet in every forward, and calibration wraps what a forward raises."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda *_, **__: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)

    class Alone(nn.Linear):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("[pair.cc:547] gloo: connection closed by peer")

    model = cimsim.convert(nn.Sequential(nn.Linear(3, 3), Alone(3, 3)), "ideal")
    with pytest.raises(CimsimError, match="another process of the training has ended"):
        with joined("cpu"):
            cimsim.calibrate(model, [torch.ones(2, 3)])
    with pytest.raises(CimsimError, match="expects inputs with 3 features"):
        with joined("cpu"):
            cimsim.calibrate(model, [torch.ones(2, 4)])


@pytest.mark.long
def test_stopped_and_resumed_by_as_many_it_is_the_same_run(tmp_path: Path) -> None:
    settings = {**SMALL, "model": "tests.training.networks:dropout_net", "limit": 437}
    straight = together(2, settings, tmp_path / "straight")
    with processes(2, settings, tmp_path / "stopped", kill=(0, 5)) as pair:
        all_ended(pair)
    assert len(metrics(tmp_path / "stopped")) == 1
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
    command += ["--parallel", "shard", "--limit", "400"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with started([*command, "--out", str(out)], env=env, stdout=subprocess.PIPE) as (torchrun,):
        printed, error = ended(torchrun)
    assert torchrun.returncode == 0, error
    assert printed.count("test accuracy") == 1
    assert (out / "result.json").is_file()


def test_a_step_in_parts_is_the_step(tmp_path: Path) -> None:
    whole = fit(make_config(**EXACT), tmp_path / "whole")
    parts = fit(make_config(**EXACT, accumulate=3), tmp_path / "parts")
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(
            weights(parts)[name], tensor, rtol=1e-3, atol=1e-4, equal_nan=True
        )
