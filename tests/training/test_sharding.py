"""Training with a part of every parameter in each process: equal, killed, resumed, refused."""

from __future__ import annotations

import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.training import checkpoint as checkpoint_module
from cimsim.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cimsim.training.config import make_config
from cimsim.training.fit import check, fit
from cimsim.training.parallel import Ranks
from cimsim.training.run import Run
from cimsim.training.sharding import is_part, shard, whole
from tests.children import all_ended
from tests.training.processes import (
    EXACT,
    SMALL,
    metrics,
    processes,
    start,
    together,
    weights,
)

SHARD = {"parallel": "shard"}
QUICK = {**EXACT, "epochs": 1, "limit": 400}
DIGITALLY: dict[str, dict[str, Any]] = {  # nothing is random, or depends on the share of a batch
    "plain": {"epochs": 2, "limit": 437},
    "clipped": {"clip_sigma": 1.2, "average": 0.9},
    "quantized": {"quantize_weights": "lsq:bits=4,per=row", "quantize_inputs": "lsq:bits=4"},
    "objectives": {"objective": ["distill", "consistency"], "accumulate": 2},
}
NOISILY: dict[str, dict[str, Any]] = {
    "odd": {"model": "tests.training.networks:odd_net", "clip_sigma": 1.2, "average": 0.5},
    "dropout": {"model": "tests.training.networks:dropout_net", "denoise": 0.01},
    "blocks": {
        "model": "vit",
        "recompute": ["blocks.*"],
        "precision": "bfloat16",
        "limit": 60,
        "batch_size": 30,
    },
}


def train_all(wanted: dict[str, dict[str, Any]]) -> None:
    """In each of two processes."""
    warnings.simplefilter("error")
    dist.init_process_group("gloo")
    for out, settings in wanted.items():
        fit(make_config(**settings), Path(out))
    dist.destroy_process_group()


@pytest.mark.long
def test_parts_train_as_the_whole(tmp_path: Path) -> None:
    """As one process without noise; as two that hold everything, bit for bit, with it."""
    wanted = {f"{tmp_path}/{n}-two": {**QUICK, **s, **SHARD} for n, s in DIGITALLY.items()}
    for name, settings in NOISILY.items():
        noisy = {**QUICK, "profile": "pcm-ibm-2020", **settings}
        wanted |= {f"{tmp_path}/{name}-one": noisy, f"{tmp_path}/{name}-two": {**noisy, **SHARD}}
    with start(2, train_all, wanted) as pair:
        for name, settings in DIGITALLY.items():
            fit(make_config(**{**QUICK, **settings}), tmp_path / f"{name}-one")
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors
    for name in (*DIGITALLY, *NOISILY):
        one, two = (Run.open(tmp_path / f"{name}-{count}") for count in ("one", "two"))
        if name in NOISILY:
            assert one.checkpoint_sha256 == two.checkpoint_sha256, name
        found, expected = (load_file(run.path / "model.safetensors") for run in (two, one))
        assert found.keys() == expected.keys()
        for key in weights(one):
            torch.testing.assert_close(
                found[key], expected[key], rtol=1e-3, atol=1e-4, equal_nan=True
            )
        losses = [[m["train_loss"] for m in metrics(run.path)] for run in (one, two)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        assert two.result["chip_accuracy"] == pytest.approx(one.result["chip_accuracy"], abs=0.006)


@pytest.mark.long
def test_killed_it_ends_cleanly_and_any_number_goes_on(tmp_path: Path) -> None:
    """As many go on to the same weights bit for bit, with dropout and batch statistics."""
    net = "tests.training.networks:dropout_net"
    settings = {**SMALL, **SHARD, "model": net, "epochs": 3, "average": 0.5}
    settings |= {"limit": 300, "batch_size": 100}
    straight = together(2, settings, tmp_path / "straight")
    out = tmp_path / "killed"
    with processes(2, settings, out, kill=(1, 5)) as pair:
        error = all_ended(pair)[0]
    assert [process.returncode for process in pair] == [1, -signal.SIGKILL]
    assert "another process of the training has ended" in error.strip().splitlines()[-1]
    assert not (out / "result.json").exists()
    assert len(metrics(out)) == 1
    for copy in ("three", "alone"):
        shutil.copytree(out, tmp_path / copy)
    again = {**settings, "resume": True}
    assert together(2, again, out).checkpoint_sha256 == straight.checkpoint_sha256
    three = together(3, again, tmp_path / "three")
    whole = make_config(**{**settings, "parallel": "replicate"})
    alone = fit(whole, tmp_path / "alone", resume=True)
    for run in (three, alone):
        assert [m["epoch"] for m in metrics(run.path)] == [1, 2, 3]
        assert run.digital_accuracy == pytest.approx(straight.digital_accuracy, abs=0.05)
        assert not list(run.path.glob("checkpoint*"))
    assert alone.config.parallel == "replicate"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"objective": ("lotion", "penalty"), "quantize_weights": "mixed"}, "objective lotion and"),
        ({"objective": ("adversarial",)}, "objective adversarial; use"),
        ({"corrector": "fogzo:n=1"}, "corrector fogzo:n=1; use"),
        ({"audit": 5}, "audit; use"),
        ({"optimizer": "ternary-chain", "clip_sigma": 0.0}, "optimizer ternary-chain; use"),
    ],
)
def test_what_looks_at_whole_weights_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(CimsimError, match="use --parallel replicate") as refusal:
        check(make_config(**{**SMALL, **SHARD, **settings}))
    assert told in str(refusal.value)


@pytest.fixture
def group() -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Listed(nn.Module):
    """A layer, and others in lists."""

    def __init__(self, body: nn.ModuleList) -> None:
        super().__init__()
        self.stem, self.body = nn.Linear(4, 4), body


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    return cimsim.calibrate(cimsim.convert(layers, "pcm-ibm-2020"), [torch.rand(4, 8)])


def state(model: nn.Module, epoch: int) -> Checkpoint:
    sums, rng = torch.zeros(5), [torch.get_rng_state()]
    return Checkpoint(epoch, 0, model.state_dict(), [], sums, list(model.parameters()), [], rng)


@pytest.mark.usefixtures("group")
def test_a_checkpoint_is_whole_whenever_its_writer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path, device = network(), tmp_path / "checkpoint.pt", torch.device("cpu")
    before = {name: t.clone() for name, t in model.state_dict().items()}
    mesh = shard(model, device)
    save_checkpoint(state(model, 1), path, Ranks())
    with torch.no_grad():
        next(model.parameters()).zero_()

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "replacing", killed)  # all parts are written by now
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(state(model, 2), path, Ranks())
    (tmp_path / "checkpoint-2-0.parts/shard-00009-model-00001-of-00001.safetensors").touch()
    found = load_checkpoint(path, device, mesh)
    assert found.epoch == 1
    assert is_part(found.model["0.weight"])
    for name, tensor in load_checkpoint(path, device).model.items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(whole(found.model[name]), tensor, rtol=0, atol=0, equal_nan=True)
    save_checkpoint(state(model, 2), path, Ranks())
    assert not load_checkpoint(path, device).model["0.weight"].any()
    assert [folder.name for folder in tmp_path.glob("*.parts")] == ["checkpoint-2-0.parts"]
    next(tmp_path.glob("*.parts/*")).unlink()
    with pytest.raises(CimsimError, match="a shard is missing in checkpoint-2-0"):
        load_checkpoint(path, device)


@pytest.mark.usefixtures("group")
def test_blocks_are_put_together_one_by_one_and_small_numbers_stay_whole() -> None:
    from torch.distributed.fsdp import FSDPModule

    inner = nn.ModuleList([nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]), nn.ReLU()])
    model = cimsim.convert(Listed(inner), "ideal", quantize_weights="lsq:bits=4,per=row")
    shard(model, torch.device("cpu"))
    blocks = [name for name, module in model.named_modules() if isinstance(module, FSDPModule)]
    assert blocks == ["", "body.0.0", "body.0.1"]
    for name, parameter in model.named_parameters():
        assert is_part(parameter) == ("quantizer" not in name), name


@pytest.mark.usefixtures("group")
def test_the_chip_of_evaluation_follows_the_weights() -> None:
    x, model, plain = torch.rand(5, 8), network().eval(), network().eval()
    shard(model, torch.device("cpu"))
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(cimsim.program(model, 4)(x), cimsim.program(plain, 4)(x))
            model(x)
            for one, other in zip(model.parameters(), plain.parameters(), strict=True):
                other.mul_(0.5)
                one.mul_(0.5)
            assert not any(layer._chip.chip for layer in cimsim.nn.analog_layers(model).values())


@pytest.mark.usefixtures("group")
def test_also_where_torch_alone_shares_the_weights_out() -> None:
    """Its writes into the weights change no version that a layer could look at."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    x, model = torch.rand(5, 8), network()
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    cimsim.program(model.eval(), 4)(x)
    model.train()(x).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        found = model.eval()(x)
        cimsim.program(model, 4)(x)
        assert torch.equal(found, model(x))  # the second read of the same chip


def test_one_process_alone_says_that_it_holds_all(tmp_path: Path) -> None:
    from cimsim.training.progress import Silent

    notes: list[str] = []

    class Watcher(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    run = fit(make_config(**{**QUICK, **SHARD}), tmp_path / "run", progress=Watcher())
    assert run.config.parallel == "shard"
    assert any("a single process holds the whole model" in note for note in notes)
