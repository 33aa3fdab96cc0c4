"""Standard training of Büchel 2022 as in the authors' code: network, images, rates, choice.

The network is trained in bfloat16 with weights in float32. A run is saved after every epoch, so it
can be resumed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.papers.mnist import Digits
from cimsim.files import make_folder, replacing
from cimsim.seeds import generator

BATCH, VALIDATION_BATCH, STEPS_BETWEEN_VALIDATIONS = 100, 200, 1000
COPIES, VALIDATION_SHARE = 3, 0.2
"""Each image, and two changed ones; one in five of all is used for validation."""
_PARTS = 10_000
_LAST = torch.channels_last


class Normalize(nn.Module):
    """Subtract the mean over the batch (and all places of a channel), divide by the spread."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, ...]`` to the same shape."""
        return nn.functional.batch_norm(x, None, None, training=True)


def begin(layer: nn.Conv2d | nn.Linear, fans: int, draws: torch.Generator) -> None:
    """Normal weights and biases of the authors' scale, at most two of it."""
    scale = (6 / fans) ** 0.5
    for each in layer.parameters():
        nn.init.trunc_normal_(each, 0.0, scale, -2 * scale, 2 * scale, generator=draws)


def authors_network(seed: int) -> nn.Sequential:
    """The network of the authors' code: normalized over the batch, first convolution padded."""
    conv = [nn.Conv2d(1, 64, 4), nn.Conv2d(64, 64, 4)]
    dense = [nn.Linear(1600, 256), nn.Linear(256, 64), nn.Linear(64, 10)]
    draws = torch.Generator().manual_seed(seed)
    for kernel in conv:
        begin(kernel, kernel.out_channels * kernel.in_channels * sum(kernel.kernel_size), draws)
    for layer in dense:
        begin(layer, layer.in_features + layer.out_features, draws)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(
        Normalize(),
        nn.ZeroPad2d((2, 1, 2, 1)),
        *(conv[0], nn.MaxPool2d(2), nn.ReLU(), conv[1], nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(dense[0], nn.ReLU(), dense[1], nn.ReLU(), Normalize(), dense[2]),
    )


def changed(x: Tensor, draws: torch.Generator) -> Tensor:
    """Images rotated by up to 10 degrees, half of which are mirrored."""
    count = len(x)
    angle = (torch.rand(count, generator=draws) * 2 - 1) * math.radians(10)
    mirror = 1 - 2 * (torch.rand(count, generator=draws) < 0.5).float()
    zero, cos, sin = torch.zeros(count), angle.cos(), angle.sin()
    rows = [mirror * cos, -sin, zero, mirror * sin, cos, zero]
    grid = nn.functional.affine_grid(
        torch.stack(rows, 1).view(count, 2, 3), list(x.shape), align_corners=False
    )
    return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def split(data: Digits, seed: int) -> tuple[Digits, Digits]:
    """Images to train on and to choose by: all images and two changed ones of each, in one order.

    The changed images are drawn once, as the authors do, so that both parts have images that come
    from the same one.
    """
    draws = generator("buchel 2022", "images", seed)
    parts = [data.x.half()]
    for _ in range(COPIES - 1):
        parts += [changed(x, draws).half() for x in data.x.split(_PARTS)]
    every = Digits(torch.cat(parts), data.y.repeat(COPIES))
    order = torch.randperm(len(every.y), generator=draws)
    count = round(VALIDATION_SHARE * len(order))
    return every.part(order[count:]), every.part(order[:count])


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Answers, computed in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        found: Tensor = model(x.float().contiguous(memory_format=_LAST))
    return found.float()


@torch.no_grad()
def validate(model: nn.Module, data: Digits) -> float:
    """Share of right answers in %."""
    batches = data.batches(VALIDATION_BATCH)
    right = sum(int((logits(model, x).argmax(1) == y).sum()) for x, y in batches)
    return 100 * right / len(data.y)


@dataclass(frozen=True)
class Schedule:
    """Numbers of epochs, and the learning rate of each."""

    epochs: tuple[int, int]
    rates: tuple[float, float]

    @property
    def text(self) -> str:
        """The schedule in words."""
        (first, second), (high, low) = self.epochs, self.rates
        return f"{first} epochs at a rate of {high:g} and {second} at {low:g}"


@dataclass
class Training:
    """A training, its best network, and what it has done.

    Attributes:
        file: where it is kept.
        schedule: epochs and rates.
        best: the weights of the best validation so far.
        epoch: number of finished epochs.
        seconds: time of them.
    """

    file: Path
    seed: int
    schedule: Schedule
    model: nn.Sequential
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    best_validation: float = 0.0
    best_step: int = 0
    epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, file: Path, seed: int, schedule: Schedule) -> Training:
        """A new training, or the one in ``file``."""
        model = authors_network(seed).to(memory_format=_LAST)  # type: ignore[call-overload]
        new = cls(
            file,
            seed,
            schedule,
            model,
            torch.optim.Adam(model.parameters(), schedule.rates[0]),
            copy.deepcopy(model.state_dict()),
        )
        if file.is_file():
            stored = torch.load(file, weights_only=True)
            model.load_state_dict(stored.pop("model"))
            new.optimizer.load_state_dict(stored.pop("optimizer"))
            for name, value in stored.items():
                setattr(new, name, value)
        return new

    def keep(self) -> None:
        """Write it."""
        make_folder(self.file.parent)
        names = ("best", "best_validation", "best_step", "epoch", "seconds")
        stored = {name: getattr(self, name) for name in names}
        stored |= {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        with replacing(self.file) as temporary:
            torch.save(stored, temporary)

    def batches(self, data: Digits) -> Iterator[Digits]:
        """The images of the next epoch."""
        return data.batches(BATCH, generator("buchel 2022", "order", self.seed, self.epoch))

    def choose(self, data: Digits, step: int) -> None:
        """Keep the network if it is the best so far."""
        found = validate(self.model, data)
        print(f"step {step}: validation {found:.2f} %, {self.seconds:.0f} s", flush=True)
        if found > self.best_validation:
            self.best_validation, self.best_step = found, step
            self.best = copy.deepcopy(self.model.state_dict())

    def run(self, train: Digits, chosen_by: Digits, after: Callable[[Training], None]) -> None:
        """Train all epochs that are left, and call ``after(self)`` after each."""
        step = self.epoch * math.ceil(len(train.y) / BATCH)
        epochs, rates = self.schedule.epochs, self.schedule.rates
        while self.epoch < sum(epochs):
            start = time.perf_counter()
            self.optimizer.param_groups[0]["lr"] = rates[self.epoch >= epochs[0]]
            for x, y in self.batches(train):
                self.optimizer.zero_grad()
                nn.functional.cross_entropy(logits(self.model, x), y).backward()
                self.optimizer.step()
                step += 1
                if step % STEPS_BETWEEN_VALIDATIONS == 0:
                    self.choose(chosen_by, step)
            self.epoch += 1
            self.seconds += time.perf_counter() - start
            after(self)
            self.keep()

    def chosen(self) -> nn.Sequential:
        """The network of the best validation."""
        model = authors_network(self.seed)
        model.load_state_dict(self.best)
        return model
