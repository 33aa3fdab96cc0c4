"""A character GPT with 1-bit weights and inputs, ternary weights, and 2:4 sparsity.

    python -m benchmarks.low_bits --data-dir DIR [--epochs 2] [--seeds 2] [--runs runs/low-bits]

The GPT of cimsim (4 blocks of width 128) with all linear layers quantized except the head, without
a chip. Reports the validation loss in nats per character, the training loss of each epoch, and
whether a training diverged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.lines import Lines, versions
from cimsim.errors import CimsimError
from cimsim.files import write_text
from cimsim.training.config import make_config
from cimsim.training.fit import fit

RESULTS = Path(__file__).parent / "results"
A1 = "denoising:bits=1"

# Weights and inputs of each arm.
ARMS: dict[str, tuple[str | None, str | None]] = {
    "full precision": (None, None),
    "A1W1, STE with mean magnitude (BitNet's scale)": ("uniform:bits=1", "uniform:bits=1"),
    "A1W1, denoising linear": ("denoising:bits=1,form=linear", "denoising:bits=1,form=linear"),
    "A1W1, denoising affine": (A1, A1),
    "A1W1, denoising affine, ridge 0": (f"{A1},ridge=0", f"{A1},ridge=0"),
    "A1W1, denoising affine, ridge 0.1": (f"{A1},ridge=0.1", f"{A1},ridge=0.1"),
    "A1W1, denoising affine, blocks of 32": (f"{A1},group=32", f"{A1},group=32"),
    "ternary, STE (BitNet b1.58)": ("uniform:levels=ternary", "uniform:levels=ternary"),
    "ternary, denoising": ("denoising:levels=ternary", "denoising:levels=ternary"),
    "A4W1, STE": ("uniform:bits=1", "uniform:bits=4"),
    "A4W1, denoising": (A1, "denoising:bits=4"),
    "A4W1 2:4, denoising": (f"{A1},sparsity=2:4", "denoising:bits=4"),
}


def main() -> None:
    """Train, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/low-bits"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arm", action="append", choices=ARMS, help="only this")
    given = parser.parse_args()
    rows = []
    for name, (weights, inputs) in ARMS.items():
        if given.arm is not None and name not in given.arm:
            continue
        losses, trained, seconds, failed = [], [], [], ""
        for seed in range(given.seeds):
            config = make_config(
                profile="ideal", method="digital", data="tinyshakespeare", data_dir=given.data_dir,
                model="gpt", epochs=given.epochs, batch_size=32, lr=0.002, seed=seed,
                keep_digital=("last",), quantize_weights=weights, quantize_inputs=inputs,
            )  # fmt: skip
            folder = given.runs / f"{'-'.join(name.replace(',', '').split())}-{seed}"
            try:
                run = fit(
                    config, folder, resume=True, progress=Lines(f"{name}, seed {seed}", config)
                )
            except CimsimError as error:
                failed = str(error)
                continue
            metrics = [
                json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()
            ]
            losses.append(run.result["digital_loss"])
            trained.append([m["train_loss"] for m in metrics])
            seconds.append(np.mean([m["seconds"] for m in metrics]))
        if failed:
            rows.append(f"| {name} | diverged: {failed} | | |")
            continue
        error = f" ± {np.std(losses, ddof=1) / len(losses) ** 0.5:.4f}" if len(losses) > 1 else ""
        curve = ", ".join(f"{loss:.3f}" for loss in np.mean(trained, axis=0))
        rows.append(f"| {name} | {np.mean(losses):.4f}{error} | {curve} | {np.mean(seconds):.0f} |")
    text = [
        "# One bit, ternary and 2:4: a character GPT",
        "",
        f"    python -m benchmarks.low_bits --data-dir DIR --epochs {given.epochs} "
        f"--seeds {given.seeds}",
        "",
        "A GPT with 0.82 million parameters and windows of 64 characters is trained on "
        "tiny-shakespeare with batches of 32 and AdamW (0.002, cosine decay). All linear layers "
        "except the head are quantized. The table shows the validation loss in nats per "
        "character (mean ± standard error over seeds), the training loss of each epoch, and "
        "seconds per epoch. The published results (accuracy on C4 of a model that is a thousand "
        "times as large: 0.3751 affine, 0.3547 linear, 0.3399 STE at A1W1) are for another task, "
        "so only the order of the methods can be compared.",
        "",
        "| quantization | validation loss | training loss by epoch | seconds per epoch |",
        "|---|---|---|---|",
        *rows,
        "",
        versions(),
        "",
    ]
    write_text(RESULTS / "low_bits.md", "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
