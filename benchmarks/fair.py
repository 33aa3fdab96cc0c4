"""Ways to train, compared fairly: choices on held-out data and chips, errors over training seeds.

A :class:`Comparison` trains every method on every task and profile, with a tenth of the training
data held out, and evaluates it on held-out and on test data, on different chips. For a method with
several settings, the comparison uses the settings that are best on the held-out data under the same
condition (age and noise of the chips). Methods are compared on the test data, training seed by
training seed. The scores of each network are a few rows of the committed results, so that a long
comparison can be measured in parts and on several days; trainings are kept in a folder of runs.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.lines import Lines
from cimsim.analysis import Evaluation, parse_axis, sweep
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.table import table_csv
from cimsim.files import append_line
from cimsim.profile import Profile, load_profile
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.data import HELD_OUT, TEST, Split
from cimsim.training.fit import fit
from cimsim.training.records import read_metrics
from cimsim.training.run import Run

HOLD_OUT = 0.1
CHIP_KEYS = {"profile", "overrides"}
SPLITS: tuple[Split, ...] = (HELD_OUT, TEST)

Settings = dict[str, Any]
Condition = tuple[str, float]
"""Age and noise of the chips."""
Where = tuple[str, str]
"""Task and profile."""
BySeed = dict[int, float]
"""A score for each training seed."""


@dataclass(frozen=True)
class Task:
    """A network and its training.

    Attributes:
        settings: settings of every training.
        samples: number of samples to evaluate on each chip; None for all.
        norms: whether the network has statistics that depend on the chip.
        falls: whether a lower score is better, such as a perplexity.
        first: settings of a digital training that all others start from, or None.
    """

    settings: Settings
    samples: int | None = None
    norms: bool = False
    falls: bool = False
    first: Settings | None = None

    @property
    def sign(self) -> int:
        """1 if more is better."""
        return -1 if self.falls else 1

    @property
    def factor(self) -> float:
        """Accuracies are shown in %."""
        return 1.0 if self.falls else 100.0

    @property
    def measure(self) -> str:
        """What is measured."""
        return "perplexity" if self.falls else "accuracy in %"

    def format(self, value: float) -> str:
        """Format a score or a difference of scores."""
        return f"{self.factor * value:.2f}"

    @property
    def text(self) -> str:
        """What differs from the defaults of ``cimsim train``."""
        own = {k: v for k, v in self.settings.items() if k not in ("data", "model")}
        return ", ".join(f"{key} {value}" for key, value in own.items())


class Score(NamedTuple):
    """Mean over the chips of one network under one condition."""

    task: str
    profile: str
    settings: str
    seed: int
    split: str
    age: str
    noise: float
    chips: int
    mean: float
    worst: float
    digital: float
    seconds: float  # of the training, on a machine that may be busy with other things
    day: str


class Given(NamedTuple):
    """Where data, runs and results are, and the number of chips."""

    data_dir: Path
    runs: Path
    results: Path
    chips: int


@dataclass(frozen=True)
class Comparison:
    """Tasks, profiles, methods, and the conditions to compare them under.

    Attributes:
        name: name of the result files.
        title, intro: heading and first paragraph of the page.
        tasks: what is trained, by name.
        profiles: settings of the profile, by name; without settings, the name is the profile.
        methods: for each name the settings of a training, or several to choose from.
        ours: the method that all others are compared with.
        variants: further settings of our method, which are compared with the others, too.
        drawn: methods in the figure.
        noise: levels of noise, as in ``noise=0,1,2,4``.
        ages: ages in seconds, by name.
    """

    name: str
    title: str
    intro: str
    tasks: Mapping[str, Task]
    profiles: Mapping[str, Settings]
    methods: Mapping[str, Sequence[Settings]]
    ours: str
    drawn: Sequence[str]
    noise: str
    ages: Mapping[str, float] = field(default_factory=dict)
    variants: Sequence[str] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """Our method and its variants."""
        return self.ours, *self.variants

    @property
    def others(self) -> list[str]:
        """The methods that ours are compared with."""
        return [name for name in self.methods if name not in self.own]

    @cached_property
    def axis(self) -> Axis:
        """The noise of the chips."""
        return parse_axis(self.noise)

    @cached_property
    def conditions(self) -> list[Condition]:
        """Every age with every noise."""
        return [(age, float(n or 0)) for age in self.ages for n in self.axis.values]

    def profile(self, name: str) -> Profile:
        """The profile that the comparison calls ``name``."""
        settings = self.profiles[name]
        return load_profile(settings.get("profile", name), settings.get("overrides", ()))

    def scores_file(self, results: Path) -> Path:
        """The file of all scores."""
        return results / f"{self.name}.csv"

    def distinct(self, methods: Sequence[str]) -> list[Settings]:
        """All settings of ``methods``, each once."""
        every = [settings for name in methods for settings in self.methods[name]]
        return [settings for i, settings in enumerate(every) if settings not in every[:i]]

    def common(self, task: str, profile: str, seed: int, data_dir: Path) -> Settings:
        """The settings that all trainings of one task on one profile have."""
        about = self.tasks[task]
        return {
            "profile": profile,
            **self.profiles[profile],
            "data_dir": None if about.settings["data"] == "digits" else data_dir,
            "hold_out": HOLD_OUT,
            **about.settings,
            "seed": seed,
        }

    def train_and_evaluate(
        self, task: str, profile: str, settings: Settings, seed: int, given: Given
    ) -> None:
        """Train one network, and evaluate it on both splits under all conditions."""
        about, name = self.tasks[task], name_of(settings)
        # Without statistics of the chip, such a training is the same for every profile.
        blind = settings.get("method") in ("digital", "standard-nat") and not about.norms
        shared = next(iter(self.profiles))
        alike = self.profiles[profile].keys() | self.profiles[shared].keys() <= CHIP_KEYS
        trained_for = shared if blind and alike else profile
        common = self.common(task, trained_for, seed, given.data_dir)
        if about.first is not None:
            before = make_config(**{**common, "method": "digital", **about.first})
            folder = given.runs / task / "first" / f"seed-{seed}"
            watch = Lines(f"{task}, first, seed {seed}", before)
            common["start"] = fit(before, folder, resume=True, progress=watch, trust=True).path
        config = make_config(**{**common, **settings})
        folder = given.runs / task / trained_for / name / f"seed-{seed}"
        watch = Lines(f"{task}, {trained_for}, {name}, seed {seed}", config)
        run = fit(config, folder, resume=True, progress=watch, trust=True)
        rows: list[Sequence[object]] = list(self.evaluated(run, task, profile, name, given.chips))
        file = self.scores_file(given.results)
        if not file.exists():
            rows.insert(0, Score._fields)
        append_line(file, table_csv(rows).rstrip())

    def evaluated(
        self, run: Run, task: str, profile: str, name: str, chips: int
    ) -> Iterator[Score]:
        """Evaluate ``run`` on chips of ``profile``."""
        seed = run.config.seed
        seconds = sum(epoch["seconds"] for epoch in read_metrics(run.path))
        for split in SPLITS:
            subject = RunSubject(run, split=split)
            for age, age_s in self.ages.items():
                evaluation = Evaluation(
                    chips,
                    samples=self.tasks[task].samples,
                    age_s=age_s,
                    profile=self.profile(profile),
                )
                (swept,) = sweep([subject], self.axis, evaluation)
                of, plan = swept.plan.measured, swept.plan
                for level, values in swept.values().items():
                    worst = max(values) if of.falls else min(values)
                    scores = (float(np.mean(values)), worst, plan.digital)
                    yield Score(
                        *(task, profile, name, seed, split, age, float(level or 0), chips),
                        *(round(score, 5) for score in scores),
                        *(round(seconds, 1), today()),
                    )


def today() -> str:
    """The date in UTC."""
    return f"{datetime.now(timezone.utc):%Y-%m-%d}"


def name_of(settings: Settings) -> str:
    """A name for ``settings``, also of a folder."""
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"


class Scores:
    """The scores in a folder of results, and what was chosen on the held-out data."""

    def __init__(self, comparison: Comparison, results: Path) -> None:
        self.comparison, file = comparison, comparison.scores_file(results)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        if lines and lines[0] != ",".join(Score._fields):
            raise SystemExit(f"{file} has other columns: it is older than this comparison")
        kinds = (str, str, str, int, str, str, float, int, *[float] * 4, str)
        self.all = [
            Score._make(kind(text) for kind, text in zip(kinds, row, strict=True))
            for row in csv.reader(lines[1:])
        ]
        self.by_key = {score[:7]: score for score in self.all}
        self.seeds_of: defaultdict[Where, set[int]] = defaultdict(set)
        for score in self.all:
            self.seeds_of[score[:2]].add(score.seed)

    def has(self, task: str, profile: str, name: str, seed: int) -> bool:
        """Whether this network was evaluated at every age and level."""
        return all(
            (task, profile, name, seed, split, age, level) in self.by_key
            for split in SPLITS
            for age, level in self.comparison.conditions
        )

    def seeds(self, where: Where, method: str) -> list[int]:
        """The training seeds with which every setting of ``method`` is finished."""
        names = [name_of(settings) for settings in self.comparison.methods[method]]
        return [
            seed
            for seed in sorted(self.seeds_of[where])
            if all(self.has(*where, name, seed) for name in names)
        ]

    def means(
        self, where: Where, name: str, split: str, condition: Condition, seeds: Sequence[int]
    ) -> BySeed:
        """Mean over the chips of the networks of ``name`` under ``condition``."""
        return {seed: self.by_key[(*where, name, seed, split, *condition)].mean for seed in seeds}

    def seconds(self, where: Where, method: str) -> float:
        """Mean duration of the trainings of ``method``; of all that it chooses from, their sum."""
        total = 0.0
        for settings in self.comparison.methods[method]:
            name = name_of(settings)
            each = {s.seed: s.seconds for s in self.all if s[:3] == (*where, name)}
            total += sum(each.values()) / max(len(each), 1)
        return total

    def on_test(self, where: Where, method: str, condition: Condition) -> BySeed | None:
        """The test scores of ``method``, with the settings that are best on held-out data under
        ``condition``; None if no seed is finished."""
        seeds, sign = self.seeds(where, method), self.comparison.tasks[where[0]].sign
        if not seeds:
            return None

        def on_held_out(name: str) -> float:
            held_out = self.means(where, name, HELD_OUT, condition, seeds)
            return sign * float(np.mean(list(held_out.values())))

        names = [name_of(settings) for settings in self.comparison.methods[method]]
        return self.means(where, max(names, key=on_held_out), TEST, condition, seeds)
