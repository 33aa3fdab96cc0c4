"""Networks for CIFAR-10 on chips, for several papers: images, scores, tuning, tables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import cimsim
from benchmarks.cifar_resnets import ready
from benchmarks.papers.record import Measured
from benchmarks.papers.trials import Trials
from cimsim.files import make_folder, replacing
from cimsim.seeds import generator
from cimsim.training.data.cifar10 import read_cifar10

BATCH = 250
ACCURACY, CHANGED = "accuracy", "changed"
"""Names of the quantities of one chip: both in %."""


@dataclass(frozen=True)
class Images:
    """Images as the networks take them, and their classes."""

    x: Tensor
    y: Tensor

    def first(self, count: int) -> Images:
        """The first ``count`` images."""
        return Images(self.x[:count], self.y[:count])

    def batches(self, size: int = BATCH) -> list[Tensor]:
        """The images in batches, without their classes."""
        return list(self.x.split(size))


def read_images(folder: Path) -> tuple[Images, Images]:
    """All training images and all test images."""
    train, test = (
        Images(ready(part.pixels), torch.from_numpy(part.labels.copy()).long())
        for part in read_cifar10(folder, download=False)
    )
    return train, test


@torch.no_grad()
def right(model: nn.Module, images: Images) -> Tensor:
    """Whether the answer for each image is right."""
    batches = zip(images.x.split(BATCH), images.y.split(BATCH), strict=True)
    return torch.cat([model(x).argmax(1) == y for x, y in batches])


def percent(flags: Tensor) -> float:
    """Share of true values in %."""
    return 100 * float(flags.double().mean())


@dataclass(frozen=True)
class Reference:
    """The digital network that chips are compared with, on the same images."""

    images: Images
    right: Tensor

    @classmethod
    def of(cls, model: nn.Module, images: Images) -> Reference:
        """Evaluate ``model`` once."""
        return cls(images, right(model, images))

    def score(self, trials: Trials, arm: str, chip: int, model: Callable[[], nn.Module]) -> None:
        """Keep the accuracy of a chip, and the share of images that it answers otherwise (right
        instead of wrong or wrong instead of right); ``model`` prepares it if it is not known."""
        if trials.has(arm, CHANGED, 0, chip):
            return
        start = time.perf_counter()
        found = right(model(), self.images)
        trials.add(arm, ACCURACY, 0, chip, percent(found), time.perf_counter() - start)
        trials.add(arm, CHANGED, 0, chip, percent(found != self.right), 0.0)


def chips_of(trials: Trials, arm: str, quantity: str = ACCURACY) -> list[float]:
    """The values of all chips."""
    return trials.groups(arm, quantity)[0]


def against(trials: Trials, arm: str, digital: float, images: int) -> Measured:
    """Points of the mean chip above the digital network.

    The standard error has a part of the chips, and one of the images, which all chips share: each
    image changes the difference by 1, 0 or -1.
    """
    chips = Measured.mean(chips_of(trials, arm), "chips")
    apart = chips.value - digital
    changed = Measured.mean(chips_of(trials, arm, CHANGED), "chips").value / 100
    of_images = 100 * math.sqrt(max(changed - (apart / 100) ** 2, 0.0) / images)
    return Measured(apart, math.hypot(chips.standard_error, of_images), chips.count, "chips")


def gain_of(trials: Trials, before: str, after: str) -> Measured:
    """Points that the mean chip gains; the same chips on the same images are compared."""
    pairs = zip(chips_of(trials, after), chips_of(trials, before), strict=True)
    return Measured.mean([a - b for a, b in pairs], "chips")


def spread_of(trials: Trials, arm: str) -> float:
    """Standard deviation from chip to chip."""
    return Measured.mean(chips_of(trials, arm), "chips").spread


def augmented(
    train: Images, steps: int, size: int, shift: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches of training images, mirrored at random and shifted by up to ``shift``
    pixels; each epoch has all images once, in another order."""
    draws = generator("papers", "augmentation", seed)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(len(train.y), generator=draws)])
        chosen, order = order[:size], order[size:]
        x = train.x[chosen]
        mirrored = torch.rand(size, generator=draws) < 0.5
        x[mirrored] = x[mirrored].flip(-1)
        if shift:
            padded = F.pad(x, (shift,) * 4)
            places = torch.randint(2 * shift + 1, (size, 2), generator=draws).tolist()
            height, width = x.shape[2:]
            x = torch.stack(
                [
                    image[:, i : i + height, j : j + width]
                    for image, (i, j) in zip(padded, places, strict=True)
                ]
            )
        yield x, train.y[chosen]


def tune(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    with_noise: cimsim.NoiseAware,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Train a converted model; the learning rate falls to zero along a cosine."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, with_noise.steps)
    start = time.perf_counter()
    model.train()
    for step, (x, y) in enumerate(batches, 1):
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        after_step()
        with_noise.step()
        schedule.step()
        if step % 20 == 0:
            accuracy = percent(logits.argmax(1) == y)
            print(
                f"step {step}: loss {loss.item():.3f}, {accuracy:.1f} %, "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )


def kept(
    file: Path, model: nn.Module, train: Callable[[nn.Module], None], trials: Trials, arm: str
) -> nn.Module:
    """``model`` with the weights in ``file``; they are trained and written if there are none.

    The time of the training is kept under ``arm``.
    """
    if not file.is_file():
        start = time.perf_counter()
        train(model)
        make_folder(file.parent)
        with replacing(file) as temporary:
            state = {name: t.contiguous() for name, t in model.state_dict().items()}
            save_file(state, str(temporary))
        seconds = time.perf_counter() - start
        trials.add(arm, "training", 0, -1, seconds, seconds)
    model.load_state_dict(load_file(file))
    return model.eval()


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
