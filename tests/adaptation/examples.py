"""Models, data and chips for tests of adaptation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import cimsim
from cimsim.profile import Profile
from tests.building import device, gaussian

STUCK = [
    {"kind": "stuck", "at": "g_min", "rate": 0.05, "source": "made up for a test"},
    {"kind": "stuck", "at": "g_max", "rate": 0.05, "source": "made up for a test"},
]


def inputs(count: int = 256, features: int = 12) -> Tensor:
    return torch.rand(count, features, generator=torch.Generator().manual_seed(0))


def network(norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [nn.Linear(12, 24), *([nn.BatchNorm1d(24)] if norm else []), nn.ReLU()]
    model = nn.Sequential(*hidden, nn.Linear(24, 5))
    if norm:
        model[1].momentum = None  # statistics of all inputs
        model(inputs())
    return model.eval()


def faulty(noise: float = 0.03) -> Profile:
    return device(programming=[gaussian(noise)], faults=STUCK, adc=8, dac=8)


def programmed(
    profile: Profile | str, model: nn.Module | None = None, seed: int = 3, x: Tensor | None = None
) -> nn.Module:
    x = inputs() if x is None else x
    converted = cimsim.convert(model or network(), profile)
    return cimsim.program(cimsim.calibrate(converted, [x]).eval(), seed=seed)


class Bench:
    """A chip of its own, in NumPy: errors that are drawn once."""

    def __init__(self, model: nn.Module, change) -> None:  # type: ignore[no-untyped-def]
        self.calls: list[str] = []
        draws = np.random.default_rng(0)
        matrices = cimsim.nn.matrices(model)
        self.held = {name: change(matrix.numpy(), draws) for name, matrix in matrices.items()}

    def __call__(self, layer: str, x: Tensor) -> np.ndarray:
        self.calls.append(layer)
        return np.asarray(x) @ self.held[layer].T


def error(model: nn.Module, reference: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x) - reference(x)).square().mean().sqrt())
