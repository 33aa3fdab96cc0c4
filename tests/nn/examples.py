"""A small layer of every kind that can be analog, with an input for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cimsim.nn.registry import _ANALOG, PACKED

IN, OUT = 6, 4

_MADE: dict[type[nn.Module], Callable[[], nn.Module]] = {
    nn.Linear: lambda: nn.Linear(IN, OUT),
    Conv1D: lambda: Conv1D(OUT, IN),
    nn.MultiheadAttention: lambda: nn.MultiheadAttention(IN, 2, batch_first=True),
    **{kind: (lambda kind=kind: kind(IN, OUT, 3)) for kind in _ANALOG if kind is not nn.Linear},
    **{kind: (lambda kind=kind: kind(IN, OUT)) for kind in PACKED if "Attention" not in str(kind)},
}

LAYERS = {kind.__name__: kind for kind in (*_ANALOG, Conv1D)}
"""The kinds that become one analog layer each, by name."""

MODULES = {**LAYERS, **{kind.__name__: kind for kind in PACKED}}
"""All kinds of torch and transformers that are converted, by name."""


def layer_of(kind: type[nn.Module]) -> nn.Module:
    """A layer of that kind in float64, the same one each time."""
    torch.manual_seed(0)
    return _MADE[kind]().double()


def input_of(kind: type[nn.Module]) -> Tensor:
    """A batch for it, in float64."""
    dimensions = getattr(_ANALOG.get(kind), "dimensions", 0)
    is_sequence = kind in (nn.MultiheadAttention, nn.RNN, nn.GRU, nn.LSTM)
    draws = torch.Generator().manual_seed(1)
    shape = (3, 5, IN) if is_sequence else (3, IN, *[5] * dimensions)
    return torch.randn(shape, generator=draws, dtype=torch.float64)


class Model(nn.Module):
    """The layer of a kind, called as people call it, and its first output."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer = layer_of(kind)
        self.attends = kind is nn.MultiheadAttention
        self.gives_several = kind in (nn.MultiheadAttention, nn.RNN, nn.GRU, nn.LSTM, nn.LSTMCell)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x, x, x) if self.attends else self.layer(x)
        first: Tensor = y[0] if self.gives_several else y
        return first
