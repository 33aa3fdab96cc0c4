"""Low-rank adapters for a base model that stays on its chip.

    python -m benchmarks.lora --data-dir DIR [--noise 2] [--seeds 0,1,2] [--chips 5]
        [--runs runs/lora]

A small convolutional network is trained digitally on Fashion-MNIST. Its frozen weights are
programmed to chips of ``pcm-ibm-2020``; then low-rank adapters of the PEFT library, which stay
digital, are tuned for MNIST, and the network is evaluated on chips after one second, one day and
one year. The adapters are tuned on the digital base, against a new chip of a random age in each
step, or on the chip that they are used on. Finished results are kept, so the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import cimsim
from benchmarks.lines import versions
from cimsim.files import append_line, make_folder, write_text
from cimsim.nn.scoring import evaluate
from cimsim.nn.weights_file import save_weights
from cimsim.seeds import generator, seed_for
from cimsim.training.data import load_data

RESULTS = Path(__file__).parent / "results"
AGES = ("1s", "1d", "1y")
LONGEST_S = 365 * 86400
BATCH, TRAIN, TEST, EPOCHS, FIRST_EPOCHS = 64, 4000, 1000, 12, 3
RANK = 8
ARMS = {
    "digital": "digital base, adapters tuned on it",
    "not tuned": "adapters tuned on the digital base",
    "redrawn": "adapters tuned against a new chip in each step",
    "fixed": "adapters tuned on the chip itself, at one day",
}


def new_network() -> nn.Module:
    """Two convolutions and two linear layers, 0.1 million weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def with_adapters(network: nn.Module, seed: int) -> nn.Module:
    """``network`` frozen, with new adapters at all layers except the last, which is trained."""
    torch.manual_seed(seed)
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    config = peft.LoraConfig(
        **{"r": RANK, "lora_alpha": 2 * RANK},
        target_modules=layers[:-1],
        modules_to_save=layers[-1:],
    )
    model: nn.Module = peft.get_peft_model(network, config)
    return model


def batches(x: Tensor, y: Tensor, seed: int, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of all epochs."""
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator("lora", seed, epoch))
        for part in order.split(BATCH):
            yield x[part], y[part]


def train(
    model: nn.Module, x: Tensor, y: Tensor, seed: int, epochs: int, lr: float, random_age: bool
) -> None:
    """Train what is not frozen, by AdamW with a rate that falls to zero."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.01)
    steps = epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    ages = generator("lora ages", seed)
    for inputs, labels in batches(x, y, seed, epochs):
        if random_age:
            cimsim.age(model, math.exp(float(torch.rand((), generator=ages)) * math.log(LONGEST_S)))
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        schedule.step()


class Records:
    """Finished measurements, one line of JSON each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        self.done = {tuple(line["key"]): line for line in map(json.loads, text.splitlines())}

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self.done

    def add(self, key: tuple[Any, ...], **values: float) -> None:
        """Keep ``values`` under ``key``."""
        line = {"key": key, **values}
        append_line(self.path, json.dumps(line))
        self.done[key] = line
        print(*key, *(f"{k} {v:.4g}" for k, v in values.items()), flush=True)

    def of(self, arm: str, age: str) -> Tensor:
        """All accuracies of an arm at an age, in percent."""
        return torch.tensor([x for seed in self.by_seed(arm, age).values() for x in seed])

    def by_seed(self, arm: str, age: str) -> dict[int, list[float]]:
        """The same, by the seed of the tuning."""
        values: dict[int, list[float]] = {}
        for (one, seed, _, at), line in self.done.items():
            if (one, at) == (arm, age):
                values.setdefault(seed, []).append(100 * line["accuracy"])
        return values


def name_of(given: argparse.Namespace) -> str:
    """The name of the files of these settings."""
    return f"noise-{given.noise:g}-epochs-{EPOCHS}"


def main() -> None:
    """Train, tune, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/lora"))
    parser.add_argument("--noise", type=float, default=2.0, help="times the noise of the profile")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--chips", type=int, default=5)
    given = parser.parse_args()
    make_folder(given.runs)
    base = given.runs / "base.safetensors"
    if not base.exists():
        data = load_data("fashion-mnist", given.data_dir)
        network = new_network()
        train(network, data.train_x[:20000], data.train_y[:20000], 0, FIRST_EPOCHS, 2e-3, False)
        score = evaluate(network, data.test_x, data.test_y)
        write_text(given.runs / "base.json", json.dumps({"accuracy": score.accuracy}))
        save_weights(network, base)
    data = load_data("mnist", given.data_dir)
    x, y = data.train_x[:TRAIN], data.train_y[:TRAIN]
    test = data.test_x[:TEST], data.test_y[:TEST]
    records = Records(given.runs / f"{name_of(given)}.jsonl")
    profile = cimsim.load_profile("pcm-ibm-2020").scale_noise(given.noise)
    for seed in map(int, given.seeds.split(",")):

        def analog(seed: int = seed) -> nn.Module:
            network = new_network()
            network.load_state_dict(load_file(base))
            model = cimsim.convert(network, profile, keep_digital="last", seed=seed)
            cimsim.calibrate(model, [x[:256]])
            return with_adapters(model, seed)

        def measure(
            model: nn.Module, arm: str, seed: int, chip: int, records: Records = records
        ) -> None:
            for age in AGES:
                if (arm, seed, chip, age) not in records:
                    cimsim.age(cimsim.program(model, chip), age)
                    records.add((arm, seed, chip, age), accuracy=evaluate(model, *test)[0])

        for arm in ("not tuned", "redrawn"):
            adapters, model = given.runs / name_of(given) / f"{arm}-{seed}", analog()
            if not adapters.exists():
                began = time.process_time()
                if arm == "redrawn":
                    train(model, x, y, seed, EPOCHS, 4e-3, random_age=True)
                else:
                    with cimsim.nn.digital(model):
                        train(model, x, y, seed, EPOCHS, 4e-3, random_age=False)
                model.save_pretrained(adapters)
                records.add(("seconds", seed, 0, arm), accuracy=time.process_time() - began)
            model = peft.PeftModel.from_pretrained(analog().unload(), adapters)
            if arm == "not tuned" and ("digital", seed, 0, "") not in records:
                with cimsim.nn.digital(model):
                    found = evaluate(model, *test)[0]
                records.add(("digital", seed, 0, ""), accuracy=found)
            for chip in range(given.chips):
                measure(model, arm, seed, chip)
        for chip in range(given.chips):
            if ("fixed", seed, chip, AGES[-1]) in records:
                continue
            model, began = analog(), time.process_time()
            cimsim.age(cimsim.program(model, chip, in_training=True), AGES[1])
            train(model, x, y, seed_for(seed, chip), EPOCHS, 4e-3, random_age=False)
            if ("seconds", seed, 0, "fixed") not in records:
                records.add(("seconds", seed, 0, "fixed"), accuracy=time.process_time() - began)
            measure(model, "fixed", seed, chip)
    _write(records, given)


def _write(records: Records, given: argparse.Namespace) -> None:
    first = json.loads((given.runs / "base.json").read_text(encoding="utf-8"))["accuracy"]
    rows = [
        f"| {ARMS[arm]} | "
        + " | ".join(_cell(records.by_seed(arm, age)) for age in AGES)
        + f" | {records.of('seconds', arm).mean() / 100:.0f} |"
        for arm in ("not tuned", "redrawn", "fixed")
    ]
    lines = [
        "# Low-rank adapters on chips of phase-change memory",
        "",
        f"    python -m benchmarks.lora --data-dir DIR --noise {given.noise:g} "
        f"--seeds {given.seeds} --chips {given.chips}",
        "",
        "A network with two convolutions (16 and 32 channels) and two linear layers (128 and 10 "
        f"outputs) is trained digitally on 20,000 images of Fashion-MNIST for {FIRST_EPOCHS} "
        f"epochs (test accuracy {first:.1%}). All of its layers except the last are frozen on "
        f"chips of `pcm-ibm-2020` with {given.noise:g} times the noise of the profile. Digital "
        f"adapters of rank {RANK} at these layers and a digital last layer are tuned for MNIST, "
        f"on {TRAIN:,} images for {EPOCHS} epochs. The table shows the accuracy in % on the first "
        f"{TEST:,} test images: mean over {given.chips} chips for each tuning seed "
        f"({given.seeds}) ± standard error over the seeds (worst chip). Without a chip, the "
        f"accuracy is {_cell(records.by_seed('digital', ''))}.",
        "",
        "| tuning | " + " | ".join(AGES) + " | CPU time (s) |",
        "|---" * (len(AGES) + 2) + "|",
        *rows,
        "",
        "The chips of the evaluation are not used in training, except in the last row, where "
        "adapters are tuned separately for each chip, with a separate order of the batches. The "
        "base network is the same for all seeds. CPU time is the time of one tuning.",
        "",
        f"{versions()} peft {peft.__version__}.",
        "",
    ]
    write_text(RESULTS / "lora.md", "\n".join(lines))
    print("\n".join(lines))


def _cell(of_seeds: dict[int, list[float]]) -> str:
    """Mean over seeds, its standard error, and the worst chip."""
    means = torch.tensor([sum(chips) / len(chips) for chips in of_seeds.values()])
    error = f" ± {means.std() / math.sqrt(len(means)):.2f}" if len(means) > 1 else ""
    return f"{means.mean():.2f}{error} ({min(min(chips) for chips in of_seeds.values()):.1f})"


if __name__ == "__main__":
    main()
