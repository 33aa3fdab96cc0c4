"""Torch's own ways to distribute, around analog layers: two processes on gloo."""

from __future__ import annotations

import copy
import sys
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import cimsim
from tests.children import all_ended
from tests.training.processes import start


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(inplace=True), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )


def samples() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(8, 16, generator=draws), torch.randint(4, (8,), generator=draws)


def train(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def converted(profile: str) -> nn.Module:
    return cimsim.calibrate(cimsim.convert(network(), profile), [samples()[0]])


def replicated(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in list(model):
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def whole(parameter: Tensor) -> Tensor:
    found: Tensor = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    return found.detach()


def check(how: str) -> None:
    """In each of the two processes."""
    warnings.simplefilter("error")
    dist.init_process_group("gloo")
    rank, wrap = dist.get_rank(), {"DDP": replicated, "FSDP2": sharded}[how]
    x, y = samples()
    exact = x.double()
    alone = train(converted("ideal").double(), exact, y)
    shared = train(wrap(converted("ideal").double()), exact[rank::2], y[rank::2])
    for p, q in zip(shared.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(whole(p), q.detach(), rtol=1e-9, atol=1e-12)
    noisy = converted("pcm-ibm-2020")
    twin = copy.deepcopy(noisy).train()
    noisy = train(wrap(noisy), x[rank::2], y[rank::2])
    answers = [torch.zeros(8, 4) for _ in range(2)]
    dist.all_gather(answers, twin(x).detach())  # of each process's own first chip
    assert not torch.equal(*answers)
    for p in noisy.parameters():
        both = [torch.zeros_like(whole(p)) for _ in range(2)]
        dist.all_gather(both, whole(p).contiguous())
        assert torch.equal(*both)
    inner = noisy.module if isinstance(noisy, nn.parallel.DistributedDataParallel) else noisy
    cimsim.program(inner.eval(), 3)
    with torch.no_grad():
        dist.all_gather(answers, inner(x))  # one chip, whoever evaluates it
    assert torch.equal(*answers)
    # A thread of gloo's may still be putting the answers away; the group must not end before it.
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over the loopback interface")
@pytest.mark.parametrize("how", ["DDP", "FSDP2"])
def test_two_processes(how: str) -> None:
    with start(2, check, how) as pair:
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors
