"""Functions that return data, named as a user would name their own."""

import torch
from sklearn.datasets import load_diabetes, load_wine
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from cimsim.training.data import DataSet


def numbers() -> tuple[TensorDataset, TensorDataset]:
    """A regression: 342 training and 100 test samples."""
    x, y = load_diabetes(return_X_y=True)
    x, y = torch.tensor(x), torch.tensor(y)
    return TensorDataset(x[:342], y[:342]), TensorDataset(x[342:], y[342:])


class _Wine(Dataset[tuple[Tensor, int]]):
    def __init__(self, odd: bool) -> None:
        x, y = load_wine(return_X_y=True)
        self.x, self.y = torch.tensor(x)[odd::2], y[odd::2].tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.x[at], self.y[at]


def wine() -> tuple[Dataset[tuple[Tensor, int]], Dataset[tuple[Tensor, int]]]:
    """A classification."""
    return _Wine(odd=False), _Wine(odd=True)


def made() -> DataSet:
    """A data set of cimsim, of random images."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 1, 8, 8, generator=rng), torch.arange(60) % 3
    return DataSet("made", x[:40], y[:40], x[40:], y[40:], 3, "")


def failing() -> None:
    """Divides by zero."""
    _ = 1 / 0


def nothing() -> int:
    """Returns no data."""
    return 3


def uneven() -> tuple[list[tuple[Tensor, int]], list[tuple[Tensor, int]]]:
    """Inputs of different lengths."""
    part = [(torch.zeros(2), 0), (torch.zeros(3), 1)]
    return part, part


def one_output(input_shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    """A model of vectors with a single output."""
    return torch.nn.Linear(input_shape[0], 1)
