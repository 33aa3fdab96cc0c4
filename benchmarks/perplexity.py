"""Text on a chip of phase-change memory: perplexity at one second, one day and one year.

    python -m benchmarks.perplexity --data-dir DIR [--data tinyshakespeare] [--first 3] [--epochs 1]
        [--limit N] [--adc-bits 8] [--seeds 0,1] [--chips 5] [--samples N] [--arm NAME ...]
        [--runs runs/perplexity] [--device auto]

The library's GPT (4 blocks of width 128) is trained digitally; then every method tunes the same
weights for as many epochs and steps: without the device, by standard noise-aware training (Gaussian
noise in the autograd graph, no converters) at several sizes of the noise, and with the whole device
in the forward pass. All are evaluated on the same unseen chips of ``pcm-ibm-2020``: converters of 8
bits (``--adc-bits`` for coarser ADCs), programming noise, read noise, drift with global
compensation. Test perplexity per character (tinyshakespeare) or word (wikitext-2). What is finished
is kept: the same command goes on.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from benchmarks.lines import Lines, versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.curves import draw
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.files import write_text
from cimsim.runs.compare import Arm, Outcome, compare, markdown
from cimsim.torch_device import working_device
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.run import Run

RESULTS = Path(__file__).parent / "results"
AXIS = parse_axis("time=1s,1d,1y")
GAUSSIAN = 0.038  # of the largest weight: V. Joshi et al., Nature Communications 11, 2473, 2020
TIMES = (0.5, 0.7, 1.0, 1.4)
PUBLISHED = 0.72
AGED = {"age": "1s:1y", "ramp": 0.1}

ARMS = [
    Arm("unaware", {"method": "digital"}),
    *(
        Arm(
            f"standard, {factor:g} of the noise",
            {"method": "standard-nat", "gaussian_sigma": factor * GAUSSIAN, "ramp": 0.1},
        )
        for factor in TIMES
    ),
    *(Arm(f"device, rule F, noise {n:g}", {"noise": n, **AGED}) for n in (1.0, 1.5)),
    Arm("device, recipe llm", {"recipe": "llm", **AGED}),
]


def main() -> None:
    """Train, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--data", choices=("tinyshakespeare", "wikitext-2"))
    parser.add_argument("--runs", type=Path, default=Path("runs/perplexity"))
    parser.add_argument("--first", type=int, default=3, help="digital epochs before tuning")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of tuning")
    parser.add_argument("--limit", type=int, help="windows of text to train on")
    parser.add_argument("--adc-bits", type=int, default=8)
    parser.add_argument("--seeds", default="0,1", help="seeds of the tuning")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--samples", type=int, help="windows of the test text, for the chips")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arm", action="append", choices=[a.name for a in ARMS], help="only this")
    parser.set_defaults(data="tinyshakespeare")
    given = parser.parse_args()
    common = {
        "profile": "pcm-ibm-2020",
        "data": given.data,
        "data_dir": given.data_dir,
        "model": "gpt",
        "batch_size": 32,
        "limit": given.limit,
        # A head of 33,278 words is larger than all blocks together, and is left digital.
        "keep_digital": ("last",) if given.data == "wikitext-2" else (),
        "device": working_device(given.device),
    }
    folder = given.runs / given.data
    coarse = {} if given.adc_bits == 8 else {"overrides": (f"adc.bits={given.adc_bits}",)}
    config = make_config(
        **common, method="digital", epochs=given.first, lr=0.002, clip_sigma=2.5, weight_decay=0.1
    )
    first = fit(config, folder / "first", resume=True, progress=Lines("first", config))
    outcomes = compare(
        [arm for arm in ARMS if given.arm is None or arm.name in given.arm],
        {
            **common,
            **coarse,
            "start": first.path,
            "epochs": given.epochs,
            "lr": 0.0005,
            "clip_sigma": 2.5,
            "learn_ranges": (),
            "weight_decay": 0.1,
        },
        AXIS,
        out=folder / f"adc-{given.adc_bits}" if coarse else folder,
        chips=given.chips,
        samples=given.samples,
        seeds=[int(seed) for seed in given.seeds.split(",")],
        watch=Lines,
        progress=lambda done, total, doing: print(f"{doing}: {done}/{total}", flush=True),
    )
    if {"unaware", "standard", "device"} <= {
        outcome.arm.name.split(",")[0] for outcome in outcomes
    }:
        _write(outcomes, first, given)


def _write(outcomes: list[Outcome], first: Run, given: argparse.Namespace) -> None:
    drawn = [o.curve for o in outcomes if o not in _standards(outcomes)[1:]]
    save(draw(drawn, AXIS, metric=outcomes[0].metric), RESULTS / f"{_name(given)}.png")
    options = f" --limit {given.limit}" if given.limit else ""
    options += f" --adc-bits {given.adc_bits}" if given.adc_bits != 8 else ""
    token, loss = first.data.token, first.result["digital_loss"]
    lines = [
        f"# Perplexity on a chip of phase-change memory: {given.data}",
        "",
        f"    python -m benchmarks.perplexity --data-dir DIR --data {given.data} "
        f"--first {given.first} --epochs {given.epochs}{options} --seeds {given.seeds} "
        f"--chips {given.chips}"
        + (f" --samples {given.samples}" if given.samples else "")
        + "".join(f" --arm '{name}'" for name in given.arm or ()),
        "",
        f"GPT of 4 blocks of width 128, {len(first.data.symbols):,} {token}s, windows of 64; "
        f"{given.first} digital epochs (test perplexity {math.exp(loss):.3f}), then "
        f"{given.epochs} of each method from the same weights. Device `pcm-ibm-2020`, DAC of 8 "
        f"bits, ADC of {given.adc_bits}. Test perplexity per {token}: mean over {given.chips} "
        f"unseen chips of each tuning seed ({given.seeds}) ± standard error (worst chip)"
        + (f", over the first {given.samples:,} test windows." if given.samples else "."),
        "",
        *markdown(outcomes, AXIS),
        "",
        *_verdict(outcomes),
        "",
        versions(),
        "",
    ]
    text = "\n".join(lines)
    write_text(RESULTS / f"{_name(given)}.md", text)
    print(text)


def _name(given: argparse.Namespace) -> str:
    coarse = f"_adc{given.adc_bits}" if given.adc_bits != 8 else ""
    return f"perplexity_{given.data}{coarse}"


def _standards(outcomes: list[Outcome]) -> list[Outcome]:
    """The standard trainings, the best after a day first."""
    found = [o for o in outcomes if o.arm.name.startswith("standard")]
    return sorted(found, key=lambda outcome: outcome.points[1].mean)


def _verdict(outcomes: list[Outcome]) -> list[str]:
    """Ours against the best standard training at every age, each at its best."""
    ours = [o for o in outcomes if o.arm.name.startswith("device")]
    lines = [
        "| perplexity below the best standard training | "
        + " | ".join(AXIS.format(level) for level in AXIS.values)
        + " |",
        "|---|" + "---|" * len(AXIS.values),
    ]
    for outcome in ours:
        cells = []
        for at, point in enumerate(outcome.points):
            best = min((o.points[at] for o in _standards(outcomes)), key=lambda p: p.mean)
            error = math.hypot(point.standard_error, best.standard_error)
            cells.append(f"{point.mean - best.mean:+.3f} ± {error:.3f}")
        lines.append(f"| {outcome.arm.name} | {' | '.join(cells)} |")
    return [*lines, "", f"Published (another model and text): -{PUBLISHED}."]


if __name__ == "__main__":
    main()
