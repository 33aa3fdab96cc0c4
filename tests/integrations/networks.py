"""A small task for the trainers of other libraries."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import cimsim

CLASSES = 4


class Samples(Dataset[dict[str, Tensor]]):
    """Inputs and labels as dictionaries."""

    def __init__(self, count: int, seed: int) -> None:
        self.x = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
        self.labels = self.x[:, :CLASSES].argmax(-1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        return {"x": self.x[at], "labels": self.labels[at]}


TRAIN, TEST = Samples(96, 1), Samples(64, 2)


def pairs(samples: Samples, batch_size: int = 16) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(samples.x, samples.labels), batch_size)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, CLASSES)
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def settings(**others: Any) -> dict[str, Any]:
    """Settings of NoiseAware that change at every step."""
    usual = {"noise_spread": 0.3, "age": "1s:1d", "average": 0.9, "recalibrate_every": 5}
    return {**usual, "calibration": [TRAIN.x[:32]], **others}


def converted(**options: Any) -> nn.Module:
    return cimsim.convert(network(), "pcm-ibm-2020", **options)


def require_alike(model: nn.Module) -> None:
    """Both processes have the same state."""
    for name, tensor in model.state_dict().items():
        both = [torch.zeros_like(tensor) for _ in range(2)]
        dist.all_gather(both, tensor.contiguous())
        torch.testing.assert_close(*both, rtol=0, atol=0, equal_nan=True, msg=name)
