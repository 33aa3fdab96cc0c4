"""Progress and environment of a long benchmark."""

from __future__ import annotations

import torch

from cimsim.training.config import TrainConfig
from cimsim.training.environment import environment


class Lines:
    """Prints an epoch per line."""

    def __init__(self, name: str, config: TrainConfig) -> None:
        self.name, self.epochs = name, config.epochs

    def start(self, total: int, done: int, measure: object = None) -> None:
        """The training starts or continues."""
        print(f"{self.name}: step {done} of {total}", flush=True)

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Print nothing."""

    def epoch(self, metrics: dict[str, object]) -> None:
        """An epoch has ended."""
        text = ", ".join(f"{key} {value}" for key, value in metrics.items() if key != "epoch")
        print(f"{self.name}: epoch {metrics['epoch']}/{self.epochs}, {text}", flush=True)

    def note(self, text: str) -> None:
        """Something else."""
        print(f"{self.name}: {text}", flush=True)


def versions() -> str:
    """One line: versions, processor kind, threads."""
    found = environment()
    packages = ", ".join(f"{k} {v}" for k, v in found["packages"].items())
    return (
        f"cimsim {found['cimsim']}, Python {found['python']}, {packages}; "
        f"{torch.get_num_threads()} CPU thread(s)."
    )
