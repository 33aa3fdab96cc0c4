"""Signed-zero ternary weights compared with plain ternary weights, with and without latent weights.

    python -m benchmarks.ternary --data-dir DIR [--epochs 5] [--seeds 3]

Trains a 784-256-128-10 network with ternary weights on MNIST. Measures the share of the weights
that start at zero and ever leave it, the accuracy, and the size of the weights on disk at two bits
each. For comparison, it trains the usual ternary weights of ternary weight networks (F. Li et al.,
arXiv:1605.04711, threshold 0.7) and of BitNet b1.58 (S. Ma et al., arXiv:2402.17764), both with a
gradient for weights that round to zero.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.lines import versions
from cimsim.files import write_text
from cimsim.nn import AnalogLayer, analog_layers, convert, digital
from cimsim.nn.scoring import evaluate
from cimsim.quantizers.quantizer import Groups
from cimsim.quantizers.ternary import Ternary, pack, unpack, values, words
from cimsim.training.data import BatchLoader, DataSet, load_data
from cimsim.training.models import build_model
from cimsim.training.optimizers import TernaryChain

RESULTS = Path(__file__).parent / "results"
ARMS = {
    "full precision": (None, None),
    "threshold 0.7 (ternary weight networks)": ("ternary:zero=signed,threshold=0.7", None),
    "rounded over the mean magnitude (BitNet b1.58)": ("uniform:levels=ternary", None),
    "signed zero, latent weights": ("ternary:zero=signed", None),
    "no gradient of zeros, latent weights": ("ternary:zero=plain", None),
    "plain zero, no latent weights": (None, False),
    "signed zero, no latent weights": (None, True),
}


def main() -> None:
    """Train, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    data = load_data("mnist", given.data_dir)
    lines = [
        "# Signed-zero ternary",
        "",
        f"    python -m benchmarks.ternary --data-dir DIR --epochs {given.epochs} "
        f"--seeds {given.seeds}",
        "",
        f"A 784-256-128-10 network is trained on MNIST for {given.epochs} epochs with batches of "
        "128 and Adam (0.001, cosine decay). Without latent weights, votes (patience 4) change "
        "the ternary weights, and the optimizer updates only the biases. The table shows mean ± "
        "standard error over seeds. *Left zero* is the share of the weights that round to zero "
        "at the start, but do not round to zero at the end of at least one epoch. With latent "
        "weights, *signed zero* is equivalent to ternary weight networks with a threshold of "
        "0.5: the forward pass and the gradient are the same. The publication contains no "
        "results to compare with.",
        "",
        "| weights | test accuracy, % | left zero, % | zero at the end, % | KiB on disk "
        "| read back exactly |",
        "|---|---|---|---|---|---|",
    ]
    for name, (quantizer, signed) in ARMS.items():
        rows = [_train(data, quantizer, signed, given.epochs, seed) for seed in range(given.seeds)]
        accuracy, left, zero, size, exact = zip(*rows, strict=True)
        verdict = "" if quantizer is None and signed is None else "yes" if all(exact) else "NO"
        cells = [_pm(accuracy), *(("", "") if not verdict else (_pm(left), _pm(zero)))]
        lines.append(f"| {name} | {' | '.join(cells)} | {size[0]:.1f} | {verdict} |")
        print(lines[-1], flush=True)
    write_text(RESULTS / "ternary.md", "\n".join([*lines, "", versions(), ""]))


def _train(
    data: DataSet, quantizer: str | None, signed: bool | None, epochs: int, seed: int
) -> tuple[float, float, float, float, bool]:
    model = convert(
        build_model("mlp", data.input_shape, data.classes, seed),
        "ideal",
        quantize_weights=quantizer,
    )
    layers = list(analog_layers(model).values())
    chain = None
    parameters = list(model.parameters())
    if signed is not None:
        chain = TernaryChain([layer.weight for layer in layers], signed=signed)
        parameters = [layer.bias for layer in layers]
    optimizer = torch.optim.Adam(parameters, lr=0.001)
    loader = BatchLoader(data.train_x, data.train_y, 128, shuffle_seed=seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    began = [layer.effective_weight().detach() == 0 for layer in layers]
    left = [torch.zeros_like(zero) for zero in began]
    with digital(model):
        for epoch in range(epochs):
            model.train()
            for x, y in loader.epoch(epoch):
                model.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                schedule.step()
                if chain is not None:
                    chain.step()
            for layer, gone in zip(layers, left, strict=True):
                gone |= layer.effective_weight().detach() != 0
        accuracy = 100 * evaluate(model, data.test_x, data.test_y).accuracy
    zeros = sum(int(zero.sum()) for zero in began)
    moved = sum(int((zero & gone).sum()) for zero, gone in zip(began, left, strict=True))
    held = [layer.effective_weight().detach() for layer in layers]
    weights = sum(h.numel() for h in held)
    zero_now = 100 * sum(int((h == 0).sum()) for h in held) / weights
    stored = [_stored(layer, h) for layer, h in zip(layers, held, strict=True)]
    if quantizer is None and signed is None:
        return accuracy, 0.0, 0.0, weights * 4 / 1024, True
    exact = all(_same(s, h) for s, h in zip(stored, held, strict=True))
    size = sum(packed.numel() for packed, _ in stored) / 1024
    return accuracy, 100 * moved / max(zeros, 1), zero_now, size, exact


def _stored(layer: AnalogLayer, held: Tensor) -> tuple[Tensor, torch.Size]:
    """Two bits a weight: packed words, and the shape."""
    quantizer, weight = layer.weight_quantizer, layer.weight.detach()
    if isinstance(quantizer, Ternary):
        word = words(weight, quantizer.dead_zone(Groups(weight, quantizer.group)))
    else:
        word = words(held, 0.0)
    return pack(word), weight.shape


def _same(stored: tuple[Tensor, torch.Size], held: Tensor) -> bool:
    packed, shape = stored
    return torch.equal(values(unpack(packed, tuple(shape))), held.sign().to(torch.int8))


def _pm(numbers: tuple[float, ...]) -> str:
    error = np.std(numbers, ddof=1) / len(numbers) ** 0.5 if len(numbers) > 1 else float("nan")
    return f"{np.mean(numbers):.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
