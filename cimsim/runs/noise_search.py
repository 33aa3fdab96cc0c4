"""Choose the noise of a training by a short search: ``--noise auto``.

All candidates are trained for a short time, and the better half of them for longer (successive
halving with two rounds: K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", AISTATS 2016). They are scored on training data that none of them was
trained on, and on chips that no report uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.grid_axis import GridAxis, grid
from cimsim.analysis.sweeps.metric import metric_named
from cimsim.errors import CimsimError
from cimsim.files import locked, make_folder, write_text
from cimsim.runs.noise_search_result import JSON, Scored, SearchResult, best_of, choose, read_search
from cimsim.runs.subject import RunSubject
from cimsim.torch_device import working_device
from cimsim.training.candidates import CANDIDATES, USUAL
from cimsim.training.config import AUTO, TrainConfig, dump_config, make_config, read_config
from cimsim.training.data import HELD_OUT
from cimsim.training.fit import check as check_training
from cimsim.training.fit import fit
from cimsim.training.methods import without_unused_ranges
from cimsim.training.optimize_for import conditions
from cimsim.training.parallel import Ranks, joined
from cimsim.training.plan import PLACES, TrainingPlan
from cimsim.training.progress import Progress, Silent
from cimsim.training.records import read_metrics
from cimsim.training.run import CONFIG, LOCK, SEARCH, Run
from cimsim.training.trainer import Trainer

HOLD_OUT = 0.1
"""Fraction of the training samples that a search holds out by default."""
CHIPS = 5
FEWEST = 50
"""Held-out labels that a choice needs."""

_SHARE = 3  # of the epochs, for the longest training of a search
_AXIS = "conditions"

Watch: TypeAlias = Callable[[str, TrainConfig], Progress]
"""Function that returns who shows a training, called before it with its name."""
Note: TypeAlias = Callable[[str], None]
"""Function that shows a remark."""


def silent(name: str, config: TrainConfig) -> Progress:
    """A :data:`Watch` that shows nothing."""
    return Silent()


def unsaid(text: str) -> None:
    """A :data:`Note` that shows nothing."""


@dataclass(frozen=True)
class Rounds:
    """The trainings of a search.

    Attributes:
        candidates: number of candidates.
        short, long: epochs of the first and the second round; equal if there is one round only.
    """

    candidates: int
    short: int
    long: int

    @property
    def kept(self) -> int:
        """Number of candidates in the second round."""
        return (self.candidates + 1) // 2 if self.short < self.long else 0

    @property
    def epochs(self) -> int:
        """Epochs of all trainings together."""
        return self.candidates * self.short + self.kept * self.long

    def cost(self, epochs: int) -> str:
        """State the cost, beside a final training of ``epochs``."""
        second = f", then the best {self.kept} for {self.long}" if self.kept else ""
        return (
            f"a search trains {self.candidates} candidates for {_epochs(self.short)}{second}: "
            f"{self.epochs} epochs, {self.epochs / epochs:.1f} times those of the final training"
        )


def rounds_of(config: TrainConfig) -> Rounds:
    """Return the trainings of the search that ``config`` describes.

    >>> cost = rounds_of(make_config(profile="ideal", noise="auto", epochs=15)).cost(15)
    >>> cost.partition("then ")[2]
    'the best 4 for 5: 41 epochs, 2.7 times those of the final training'
    """
    long = config.search_epochs or max(1, round(config.epochs / _SHARE))
    return Rounds(len(CANDIDATES), (long + 1) // 2, long)


def search(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    watch: Watch = silent,
    note: Note = unsaid,
    trust: bool = False,
) -> SearchResult:
    """Choose the noise of a training, with everything that :data:`CANDIDATES` set.

    Trainings and result are kept in ``out/search``. A search that was killed continues with
    ``resume`` and makes the same choice; a finished one is read. Then train with
    ``result.config_for(config)`` in ``out``, or let :func:`train` do both.

    Args:
        config: settings with ``noise="auto"``.
        out: folder of the run.
        resume: continue the search in ``out``.
        watch: see :data:`Watch`.
        note: called with the cost of the search before it starts.
        trust: as in :func:`cimsim.training.fit.fit`.

    Raises:
        CimsimError: if ``config`` sets what the search chooses, too few samples are held out, a
            candidate cannot be trained, or ``out`` contains something else.
    """
    _refuse_other_choices(config)
    with ExitStack() as held:
        ranks, device = held.enter_context(joined(working_device(config.device)))
        if ranks.decide(ranks.first and _is_finished(out, config, resume)):
            return read_search(out / SEARCH)
        rounds = rounds_of(config)
        samples = _check_candidates(config, device, trust)
        noises, ages_s = conditions(str(config.optimize_for), config.age)
        cost = (
            f"{rounds.cost(config.epochs)}; scores are means over {_count(noises, 'noise level')}, "
            f"{_count(ages_s, 'age')} and {CHIPS} chips, on {samples} held-out samples"
        )
        if ranks.first:
            note(cost)
            make_folder(out / SEARCH)
            refusal = f"another process is searching in {out}; wait for it to finish, or stop it"
            held.enter_context(locked(out / SEARCH / LOCK, refusal))
            write_text(out / SEARCH / CONFIG, dump_config(config))
        ranks.wait()
        axis = grid(Axis("noise", noises), Axis("time", ages_s), _AXIS)
        result = _Trials(config, out / SEARCH, axis, watch, trust, ranks).result(rounds, samples)
        if ranks.first:
            result.write(out / SEARCH)
        return result


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    watch: Watch = silent,
    note: Note = unsaid,
    trust: bool = False,
) -> Run:
    """Train as :func:`cimsim.training.fit.fit` does; with ``noise="auto"``, :func:`search` first.

    Raises:
        CimsimError: as these functions.
    """
    with joined(working_device(config.device)):  # once: torchrun's processes cannot join again
        if config.searches:
            result = search(config, out, resume=resume, watch=watch, note=note, trust=trust)
            config = result.config_for(config)
        return fit(config, out, resume=resume, progress=progress, trust=trust)


@dataclass(frozen=True)
class _Trials:
    """Trains and scores candidates."""

    config: TrainConfig
    folder: Path
    axis: GridAxis
    watch: Watch
    trust: bool
    ranks: Ranks

    def result(self, rounds: Rounds, samples: int) -> SearchResult:
        """Run both rounds and choose."""
        trainings = [self._trial(name, 1, rounds.short) for name in CANDIDATES]
        subject = self._subject(trainings[0])
        metric = metric_named(subject.metric, subject.token)
        if rounds.kept:
            kept = best_of(trainings, rounds.kept, metric)
            trainings += [self._trial(one.candidate, 2, rounds.long) for one in kept]
        last = [one for one in trainings if one.round == trainings[-1].round]
        return SearchResult(
            optimize_for=str(self.config.optimize_for),
            metric=metric.name,
            token=subject.token,
            samples=samples,
            trainings=tuple(trainings),
            chosen=choose(last, metric).candidate,
        )

    def _place(self, name: str, epochs: int) -> Path:
        return self.folder / f"{epochs}-epochs" / name

    def _subject(self, one: Scored) -> RunSubject:
        place = self._place(one.candidate, one.epochs)
        return RunSubject(Run.open(place, trust=True), split=HELD_OUT)

    def _trial(self, name: str, number: int, epochs: int) -> Scored:
        config = candidate_config(self.config, name, epochs)
        with _named(name):
            trial = f"{name}, {_epochs(epochs)}"
            watcher = self.watch(trial, config) if self.ranks.first else Silent()
            place = self._place(name, epochs)
            run = fit(config, place, resume=True, progress=watcher, trust=self.trust)
            values = self.ranks.decide(self._values(run) if self.ranks.first else ())
        seconds = sum(float(epoch["seconds"]) for epoch in read_metrics(place))
        return Scored(name, CANDIDATES[name], number, epochs, values, round(seconds, 1))

    def _values(self, run: Run) -> tuple[float, ...]:
        """For each chip, the mean of the metric over the conditions, on held-out samples."""
        subject = RunSubject(run, split=HELD_OUT)
        evaluation = Evaluation(CHIPS, device=working_device(run.config.device))
        levels = evaluation.sweep(subject, self.axis).values()
        return tuple(np.mean(list(levels.values()), axis=0).tolist())


def candidate_config(config: TrainConfig, name: str, epochs: int) -> TrainConfig:
    """Return the settings that a search trains the candidate ``name`` with."""
    changes = {"optimize_for": None, "search_epochs": None, "epochs": epochs, "audit": 0}
    held_out = {"hold_out": config.hold_out or HOLD_OUT}
    settings = {**config.model_dump(), **changes, **held_out, **CANDIDATES[name]}
    return without_unused_ranges(make_config(**settings))


def check(config: TrainConfig, trust: bool = False) -> None:
    """Check a configuration without writing any file; for a search that of every candidate.

    Raises:
        CimsimError: as :func:`train`, for errors that are known before.
    """
    if config.searches:
        _refuse_other_choices(config)
        _check_candidates(config, working_device(config.device), trust)
    else:
        check_training(config, trust)


def _check_candidates(config: TrainConfig, device: str, trust: bool) -> int:
    """Return the number of held-out samples.

    Raises:
        CimsimError: if there are too few, or a candidate cannot be trained.
    """
    configs = {name: candidate_config(config, name, 1) for name in CANDIDATES}
    plan = TrainingPlan.load(next(iter(configs.values())))
    for name, each in configs.items():
        with _named(name):
            Trainer(replace(plan, config=each), Path(), Silent(), Ranks(), device, trust)
    labels = plan.data.part(HELD_OUT)[1]
    if labels.numel() < FEWEST:
        raise CimsimError(
            f"noise '{AUTO}': {len(labels)} of the training samples of '{plan.data.name}' are held "
            f"out, but a choice needs at least {FEWEST}; use more samples, a larger hold_out, or "
            "set the noise to a number"
        )
    return len(labels)


def _refuse_other_choices(config: TrainConfig) -> None:
    """
    Raises:
        CimsimError: if ``config`` is not a search, or sets what a search chooses.
    """
    if not config.searches:
        raise CimsimError(f"a search needs noise '{AUTO}', not {config.noise:g}")
    usual = TrainConfig.model_fields
    own = [name for name in USUAL if getattr(config, name) != usual[name].default]
    if own:
        given = " and ".join(f"{name} {getattr(config, name)}" for name in own)
        raise CimsimError(
            f"noise '{AUTO}' chooses {', '.join(USUAL)}, but {given} "
            f"{'are' if own[1:] else 'is'} set by an option or a recipe; leave out the settings "
            "that it chooses, or set the noise to a number"
        )


def _is_finished(out: Path, config: TrainConfig, resume: bool) -> bool:
    """Return whether the search in ``out`` is finished.

    Raises:
        CimsimError: if ``out`` contains something else, a search with other settings, or, without
            ``resume``, any search.
    """
    before = out / SEARCH / CONFIG
    if not before.is_file():
        if (out / CONFIG).is_file():
            raise CimsimError(
                f"{out} contains a run whose noise was not chosen by a search; choose another --out"
                + (f", or resume it without noise '{AUTO}'" if resume else "")
            )
        if out.exists() and not (out.is_dir() and all(p.name == SEARCH for p in out.iterdir())):
            raise CimsimError(f"{out} exists and is not a run; choose another --out")
        return False
    if not resume:
        raise CimsimError(
            f"{out} already contains a search; add --resume to continue it or choose another --out"
        )
    old, fields = read_config(before), TrainConfig.model_fields
    changed = [f for f in fields if f not in PLACES and getattr(old, f) != getattr(config, f)]
    if changed:
        changes = ", ".join(f"{f} was {getattr(old, f)}" for f in changed)
        raise CimsimError(f"cannot resume the search in {out} with other settings: {changes}")
    return (out / SEARCH / JSON).is_file()


@contextmanager
def _named(candidate: str) -> Iterator[None]:
    """Within the block, errors name the candidate."""
    try:
        yield
    except CimsimError as error:
        raise CimsimError(f"candidate '{candidate}' of the search: {error}") from None


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _count(values: tuple[float, ...], what: str) -> str:
    return f"{len(values)} {what}" + "s" * (len(values) > 1)
