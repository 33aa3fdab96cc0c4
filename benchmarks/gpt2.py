"""GPT-2 on a chip of phase-change memory: perplexity on WikiText-2 after 1 s, 1 day and 1 year.

    python -m benchmarks.gpt2 --data-dir DIR [--weights gpt2] [--device cuda] [--steps 1000]
        [--window 1024] [--batch-size 4] [--chips 5] [--runs runs/gpt2] [--arm NAME]
    python -m benchmarks.gpt2 --tiny --out FILE.md

Converts the published weights (``--weights`` is a name on the Hugging Face hub, or a folder) for
``pcm-ibm-2020``, except the head, which is tied to the embedding. Evaluates the published weights,
and the same weights after equal numbers of tuning steps: digitally, by standard noise-aware
training (Gaussian noise in the autograd graph, no converters), with the whole chip in the forward
pass, and with the whole chip and the digital model as an additional teacher (recipe ``llm``).
Perplexity is per token of GPT-2's vocabulary, over windows that do not overlap. Finished results
are kept, so the same command resumes.

The full table has not been measured: it needs a GPU, and the download of weights and tokenizer.
``--tiny`` runs everywhere and is tested: it trains a random GPT-2 of two layers on the bytes of
this file for a few steps. Its numbers have no meaning.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cimsim
from benchmarks.lines import versions
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.metric import metric_named
from cimsim.analysis.sweeps.stats import Summary, summary
from cimsim.errors import CimsimError
from cimsim.files import write_text
from cimsim.nn import Assignment, analog_layers, digital
from cimsim.nn.scoring import evaluate
from cimsim.nn.training_conditions import train_as_evaluated
from cimsim.profile import load_profile
from cimsim.runs.compare import Arm, table
from cimsim.seeds import generator
from cimsim.torch_device import working_device
from cimsim.training.clipping import clip_weights
from cimsim.training.config import make_config
from cimsim.training.data.batches import BatchLoader
from cimsim.training.data.layout import read_bytes
from cimsim.training.data.text import WIKITEXT_2
from cimsim.training.methods import make_method
from cimsim.training.tasks import divergence

RESULTS = Path(__file__).parent / "results"
PROFILE = "pcm-ibm-2020"
AXIS = parse_axis("time=1s,1d,1y")
METRIC = metric_named("perplexity", "token")
GAUSSIAN = 0.038  # of the largest weight: V. Joshi et al., Nature Communications 11, 2473, 2020
AGED = {"age": "1s:1y"}
CALIBRATION = 4  # windows

ARMS = [
    Arm("published weights, unaware", {"method": "digital"}),
    Arm("tuned, unaware", {"method": "digital"}),
    *(
        Arm(
            f"standard, {factor:g} of the noise",
            {"method": "standard-nat", "gaussian_sigma": factor * GAUSSIAN},
        )
        for factor in (0.5, 1.0)
    ),
    *(Arm(f"device, rule F, noise {n:g}", {"noise": n, **AGED}) for n in (1.0, 1.5)),
    Arm("device, recipe llm", {"recipe": "llm", **AGED}),
]


@dataclass(frozen=True)
class Texts:
    """Tokens to train and to test on, ``[N, window + 1]``."""

    train: Tensor
    test: Tensor


class Logits(nn.Module):
    """A language model of Hugging Face's, from tokens to logits alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> Tensor:
        """``[N, T]`` to ``[N, T, vocabulary]``."""
        logits: Tensor = self.inner(tokens).logits
        return logits


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--weights", default="gpt2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--clip-sigma", type=float, default=2.5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/gpt2"))
    parser.add_argument("--arm", action="append", choices=[arm.name for arm in ARMS])
    parser.add_argument("--tiny", action="store_true", help="a random model, in seconds")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpt2.md")
    given = parser.parse_args(arguments)
    if given.tiny and given.out is None:
        parser.error("--tiny measures nothing: give the file of its table by --out")
    if given.tiny:
        given.steps, given.window, given.chips, given.lr = 3, 16, 2, 1e-3
    elif given.data_dir is None:
        parser.error("--data-dir: the folder of wikitext-2, or --tiny")
    device = working_device(given.device)
    model, texts = _tiny(given) if given.tiny else _published(given)
    model, texts = model.to(device), Texts(texts.train.to(device), texts.test.to(device))
    rows = []
    for arm in ARMS:
        if given.arm is None or arm.name in given.arm:
            rows.append((arm.name, *result(arm, model, texts, given)))
            print(rows[-1], flush=True)
    if given.arm is None:
        text = "\n".join([*_heading(model, texts, given), *table(METRIC, AXIS, rows), ""])
        write_text(given.out or RESULTS / "gpt2.md", f"{text}\n{versions()}\n")
        print(text)


def _published(given: argparse.Namespace) -> tuple[nn.Module, Texts]:
    """GPT-2 and WikiText-2 as its tokenizer reads it."""
    try:
        from transformers import AutoTokenizer, GPT2LMHeadModel

        model = GPT2LMHeadModel.from_pretrained(given.weights)
        tokenizer: Any = AutoTokenizer.from_pretrained(given.weights)
    except (ImportError, OSError) as error:
        raise SystemExit(
            f"{given.weights}: no weights or no tokenizer ({str(error).splitlines()[0]}); give "
            "the folder of a copy by --weights"
        ) from None
    try:
        paths = WIKITEXT_2.locate(given.data_dir, download=False)
        found = [tokenizer(read_bytes(path).decode("utf-8"))["input_ids"] for path in paths]
    except CimsimError as error:
        raise SystemExit(str(error)) from None
    train, test = (_windows(torch.tensor(tokens), given.window) for tokens in found)
    return Logits(model), Texts(train, test)


def _tiny(given: argparse.Namespace) -> tuple[nn.Module, Texts]:
    """A random GPT-2 of two layers, and the bytes of this file."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(given.seed)
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 256, "n_positions": 32}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, use_cache=False)
    windows = _windows(torch.tensor(list(Path(__file__).read_bytes())), given.window)
    return Logits(GPT2LMHeadModel(config)), Texts(windows[:64], windows[64:72])


def _windows(tokens: Tensor, window: int) -> Tensor:
    """Each token with the next one; the rest is left out."""
    count = (len(tokens) - 1) // window
    return tokens[: count * window + 1].unfold(0, window + 1, window)


def result(
    arm: Arm, model: nn.Module, texts: Texts, given: argparse.Namespace
) -> tuple[float, list[Summary]]:
    """Digital perplexity, and perplexity on the chips at every age; kept in a file of the arm."""
    kept = given.runs / f"{arm.name.replace(' ', '-').replace(',', '')}.json"
    facts = {name: str(getattr(given, name)) for name in _DECIDE} | {"arm": repr(arm.settings)}
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None
    if found is None or found["facts"] != facts:
        analog = cimsim.convert(
            copy.deepcopy(model), PROFILE, keep_digital=["*lm_head"], seed=given.seed
        )
        if arm.name != ARMS[0].name:
            tune(analog, model, arm, texts.train, given)
        found = {"facts": facts, **losses(analog, texts, given)}
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(found, indent=2) + "\n")
    points = [
        summary(level, [METRIC.of({"loss": loss}) for loss in of_chips], METRIC.falls)
        for level, of_chips in zip(AXIS.values, found["chips"], strict=True)
    ]
    return METRIC.of({"loss": found["digital"]}), points


_DECIDE = ("weights", "tiny", "steps", "window", "batch_size", "lr", "clip_sigma", "precision")
_DECIDE += ("chips", "seed")


def tune(
    model: nn.Module, teacher: nn.Module, arm: Arm, train: Tensor, given: argparse.Namespace
) -> None:
    """Change the weights of ``model`` by the arm's method. The noise grows over the first tenth."""
    common = {"profile": PROFILE, "seed": given.seed, "clip_sigma": given.clip_sigma}
    config = make_config(**{**arm.settings, **common})
    method = make_method(config, Assignment(load_profile(PROFILE)))
    teaches = any(term.startswith("distill") for term in config.objective)
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr, weight_decay=0.1)
    loader = BatchLoader(train[:, :-1], train[:, 1:], given.batch_size, shuffle_seed=given.seed)
    batches = (pair for epoch in range(10**9) for pair in loader.epoch(epoch))
    torch.manual_seed(given.seed)  # of dropout
    model.train()
    for step, (x, y) in zip(range(given.steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = given.lr * 0.5 * (1 + math.cos(math.pi * step / given.steps))
        strength = min(1.0, 10 * (step + 1) / given.steps) if method.noisy else 0.0
        if strength and (step & (step - 1) == 0 or step % 200 == 0):
            before = min(1.0, 10 * step / given.steps)
            method.settle(model, _calibration(train), before, step - 1)
        optimizer.zero_grad()
        with method.setting(model, strength, step), _precision(given, x):
            logits = model(x)
        loss = F.cross_entropy(logits.flatten(0, -2).float(), y.flatten())
        if teaches:
            with torch.no_grad(), _precision(given, x):
                answers = teacher.eval()(x)
            loss = loss + divergence(answers.float(), logits.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if strength:
            clip_weights(model, config.clip_sigma)
        if step % 50 == 0:
            print(f"{arm.name}: step {step} of {given.steps}, loss {loss.item():.4f}", flush=True)
    train_as_evaluated(model)


def _precision(given: argparse.Namespace, x: Tensor) -> Any:
    if given.precision == "float32":
        return nullcontext()
    return torch.autocast(x.device.type, dtype=torch.bfloat16)


def _calibration(train: Tensor) -> list[Tensor]:
    order = torch.randperm(len(train), generator=generator("gpt2 calibration"))
    return [train[i : i + 1, :-1] for i in order[:CALIBRATION].tolist()]


def losses(model: nn.Module, texts: Texts, given: argparse.Namespace) -> dict[str, Any]:
    """Mean cross-entropy (nats per token): ``digital``, and ``chips``, one list for each age."""
    x, y = texts.test[:, :-1], texts.test[:, 1:]
    cimsim.age(model, 0)
    if not all(layer.calibrated for layer in analog_layers(model).values()):
        cimsim.calibrate(model, _calibration(texts.train))
    with digital(model):
        plain = evaluate(model, x, y, given.batch_size).loss
    found: list[list[float]] = [[] for _ in AXIS.values]
    for chip in range(given.chips):
        cimsim.program(model, chip)
        for level, of_chips in zip(AXIS.values, found, strict=True):
            cimsim.age(model, float(str(level)))
            of_chips.append(evaluate(model, x, y, given.batch_size).loss)
    return {"digital": plain, "chips": found}


def _heading(model: nn.Module, texts: Texts, given: argparse.Namespace) -> list[str]:
    count = sum(parameter.numel() for parameter in model.parameters())
    what = "a random model on the bytes of a file" if given.tiny else "WikiText-2"
    return [
        "# GPT-2 on a chip of phase-change memory",
        "",
        f"`python -m benchmarks.gpt2{' --tiny' * given.tiny} --weights {given.weights} --steps "
        f"{given.steps} --window {given.window} --batch-size {given.batch_size} --lr {given.lr:g} "
        f"--clip-sigma {given.clip_sigma:g} --precision {given.precision} --chips {given.chips} "
        f"--seed {given.seed}`",
        "",
        f"{count / 1e6:.1f} M parameters, {what}: {len(texts.train):,} windows of {given.window} "
        f"tokens to train on, {len(texts.test):,} to test. The profile is `{PROFILE}` with 8-bit "
        "converters; the head stays digital. The table shows the test perplexity per token: mean "
        f"over {given.chips} chips that were not used in training ± standard error (worst chip).",
        "",
    ]


if __name__ == "__main__":
    main()
