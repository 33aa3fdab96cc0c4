"""Compare ways to train: the same data, budget, profile and chips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin

import numpy as np

from cimsim.analysis.evaluation import Evaluation, silent
from cimsim.analysis.evaluation import Progress as SweepProgress
from cimsim.analysis.figures.curves import Curve
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.metric import Metric
from cimsim.analysis.sweeps.stats import Summary, summary
from cimsim.analysis.sweeps.store import Sweep
from cimsim.analysis.sweeps.sweep import sweep
from cimsim.errors import CimsimError
from cimsim.files import read_file
from cimsim.layer_options import parse_layers, with_profiles
from cimsim.nn import Assignment, analog_layers
from cimsim.profile import Profile, load_profile
from cimsim.runs.noise_search import Note, Watch, check, search, unsaid
from cimsim.runs.subject import RunSubject
from cimsim.suggest import unknown
from cimsim.training.config import TrainConfig, make_config, read_yaml
from cimsim.training.data import HELD_OUT, TEST, Split, load_data
from cimsim.training.fit import fit
from cimsim.training.methods import METHODS, without_unused_ranges
from cimsim.training.models import require_trust
from cimsim.training.parallel import refuse_several
from cimsim.training.recipes import RECIPES
from cimsim.training.run import Run, new_model

Settings: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One way to train: its name, and its settings that differ from the common ones."""

    name: str
    settings: Settings


@dataclass(frozen=True)
class Outcome:
    """The result of an arm over all its training seeds and their chips.

    ``points`` has one summary for each level; with several seeds its ``standard_error`` and
    ``half_width`` are those over seeds, or over chips if these are larger.
    """

    arm: Arm
    runs: tuple[Run, ...]
    sweeps: tuple[Sweep, ...]
    points: tuple[Summary, ...]

    @property
    def metric(self) -> Metric:
        """The metric of the points."""
        return self.sweeps[0].plan.measured

    @property
    def digital(self) -> float:
        """The digital metric, mean over seeds."""
        return sum(sweep.plan.digital for sweep in self.sweeps) / len(self.sweeps)

    @property
    def curve(self) -> Curve:
        """The curve in a figure."""
        return Curve(self.arm.name, self.digital, self.points)


_LISTS = [
    name
    for name, field in TrainConfig.model_fields.items()
    if any(get_origin(kind) is tuple for kind in (field.annotation, *get_args(field.annotation)))
]


def named_arms(names: str) -> list[Arm]:
    """Return an arm for each method or recipe of a comma-separated list.

    ``name+key=value+key=value`` changes further settings.

    Raises:
        CimsimError: if a name is neither, or there is none.

    >>> named_arms("digital,noise-aware+rule=C+corrector=fogzo:n=2,beta=1")[1].settings
    {'method': 'noise-aware', 'rule': 'C', 'corrector': 'fogzo:n=2,beta=1'}
    """
    arms = []
    for name in _split(names):
        first, *changes = name.split("+")
        if first not in METHODS and first not in RECIPES:
            raise CimsimError(unknown("method or recipe", first, [*METHODS, *RECIPES]))
        settings: Settings = {"method" if first in METHODS else "recipe": first}
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals:
                raise CimsimError(f"'{name}': write '{change}=VALUE'")
            settings[key] = (value,) if key in _LISTS else value
        arms.append(Arm(name, settings))
    return _distinct(arms)


def _split(names: str) -> list[str]:
    """Split at commas, except within a setting: no name of a method has an equals sign."""
    pieces: list[str] = []
    for piece in filter(None, (piece.strip() for piece in names.split(","))):
        if pieces and "=" in piece.partition("+")[0]:
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return pieces


def read_arms(
    path: Path, trust: bool = False, model: str | None = None, data: str | None = None
) -> list[Arm]:
    """The arms of a YAML file: a name, and its settings as in a run's ``config.yaml``.

    Args:
        path: the file.
        trust: import models and data that are functions from outside cimsim; this runs their code.
        model, data: a model and data that are accepted because the caller has named them.

    Raises:
        CimsimError: if the file cannot be read, is something else, or names another model
            or data of outside cimsim without ``trust``.
    """
    read = read_yaml(path, read_file(path))
    if not isinstance(read, dict) or not all(isinstance(v, dict) for v in read.values()):
        raise CimsimError(
            f"{path}: must list the settings of each arm below its name, such as "
            "'loud: {method: noise-aware, noise: 4}'"
        )
    for name, settings in read.items():
        origin = f"{path}: '{name}'"
        if (other := settings.get("model")) not in (None, model):
            require_trust(str(other), trust, origin)
        if (other := settings.get("data")) not in (None, data):
            require_trust(str(other), trust, origin, "data")
    return _distinct([Arm(str(name), dict(settings)) for name, settings in read.items()])


def _distinct(arms: list[Arm]) -> list[Arm]:
    if not arms:
        raise CimsimError("there is nothing to compare; name some methods or recipes")
    for arm in arms:
        if "seed" in arm.settings:
            raise CimsimError(f"'{arm.name}': seeds are the same for all arms; leave it out")
    folders = [_folder(arm.name) for arm in arms]
    for name in folders:
        if folders.count(name) > 1:
            raise CimsimError(f"two arms are called '{name}'; give each its own name")
    return arms


def compare(
    arms: Sequence[Arm],
    common: Mapping[str, Any],
    axis: Axis,
    *,
    out: Path,
    chips: int = 10,
    seeds: Sequence[int] = (0,),
    samples: int | None = None,
    age_s: float = 0.0,
    on: Profile | None = None,
    metric: str | None = None,
    trust: bool = False,
    split: Split = TEST,
    watch: Watch,
    note: Note = unsaid,
    progress: SweepProgress = silent,
) -> list[Outcome]:
    """Train every arm with every seed, and evaluate all of them over ``axis`` on the same chips.

    Runs are written to ``out/ARM/seed-N``. Finished parts are not repeated and interrupted ones are
    resumed, so the same call with more arms or seeds adds to the results.

    Args:
        arms: the ways to train.
        common: settings of :class:`TrainConfig` that all arms share.
        axis: axis of the evaluation.
        out: folder of all runs.
        chips: chips for each level.
        seeds: training seeds, which decide the initial weights and everything random.
        samples: number of test samples; all by default.
        age_s: age of the chips.
        on: the profile to evaluate on; the one of ``common`` (and of its layers) by default, also
            for arms that train on another.
        metric: as in :class:`cimsim.analysis.evaluation.Evaluation`.
        trust: as in :func:`cimsim.training.fit.fit`.
        split: samples to evaluate on, ``test`` or ``held-out``.
        watch: see :data:`cimsim.runs.noise_search.Watch`.
        note: called with the cost of each search for the noise.
        progress: called after every trial.

    Raises:
        CimsimError: for invalid settings, before anything is trained, and under ``torchrun``.
    """
    refuse_several("a comparison")
    if split not in (TEST, HELD_OUT):
        raise CimsimError(unknown("split", split, (TEST, HELD_OUT)))
    if len(set(seeds)) < len(seeds):
        raise CimsimError(f"a training seed is listed twice: {', '.join(map(str, seeds))}")
    configs = {(arm.name, seed): _config(common, arm, seed) for arm in arms for seed in seeds}
    everywhere = _assignment(make_config(**common)) if on is None else Assignment(on)
    for level in axis.values:
        axis.assign(everywhere, level)
    for arm in arms:
        check(configs[arm.name, seeds[0]], trust)
        if split != TEST and not configs[arm.name, seeds[0]].hold_out:
            raise CimsimError(f"'{arm.name}' does not hold out samples; add --hold-out 0.1")
    outcomes = []
    for arm in arms:
        runs = []
        for seed in seeds:
            config = configs[arm.name, seed]
            folder = out / _folder(arm.name) / f"seed-{seed}"
            name = f"{arm.name}, seed {seed}"
            if config.searches:
                within = _watch_within(name, watch)
                result = search(config, folder, resume=True, watch=within, note=note, trust=trust)
                config = result.config_for(config)
            shown = watch(name, config)
            own = arm.settings  # what is common to all arms may apply to others only
            runs.append(fit(config, folder, resume=True, progress=shown, trust=trust, named=own))
        evaluation = Evaluation(
            chips,
            samples=samples,
            age_s=age_s,
            profile=everywhere.among(analog_layers(runs[0].new_model())),
            device=runs[0].config.device,
            metric=metric,
            progress=_progress_of(arm, progress),
        )
        sweeps = sweep([RunSubject(run, split=split) for run in runs], axis, evaluation)
        outcomes.append(Outcome(arm, tuple(runs), tuple(sweeps), tuple(over_seeds(sweeps))))
    return outcomes


def _config(common: Mapping[str, Any], arm: Arm, seed: int) -> TrainConfig:
    config = make_config(**{**common, **arm.settings, "seed": seed})
    return config if "learn_ranges" in arm.settings else without_unused_ranges(config)


def _watch_within(name: str, watch: Watch) -> Watch:
    """``watch`` for the trainings of a search, which are named after the arm's."""
    return lambda trial, config: watch(f"{name}: {trial}", config)


def _assignment(config: TrainConfig) -> Assignment:
    """The profiles of the layers of ``config``; its own for layers that are not analog there."""
    profile = load_profile(config.profile, config.overrides)
    if not config.layer:
        return Assignment(profile)
    layers = with_profiles(parse_layers(config.layer))
    model = new_model(config, profile, layers, load_data(config.data, config.data_dir))
    own = [(name, layer.profile) for name, layer in analog_layers(model).items()]
    return Assignment(profile, tuple((name, p) for name, p in own if p != profile))


def _progress_of(arm: Arm, progress: SweepProgress) -> SweepProgress:
    return lambda done, total, doing: progress(done, total, f"{arm.name}, {doing}")


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.=" else "-" for c in name)


def over_seeds(sweeps: Sequence[Sweep]) -> list[Summary]:
    """Summarize each level over the chips of all training seeds.

    Chips of one training are not independent; so the error of the mean is that over seeds if
    there are several, unless that over chips is larger.
    """
    points, metric = [], sweeps[0].plan.measured
    for level in sweeps[0].plan.levels:
        each = [sweep.values()[level] for sweep in sweeps]
        together = summary(level, [value for values in each for value in values], metric.falls)
        if len(each) > 1:
            seeds = summary(level, [float(np.mean(values)) for values in each])
            if seeds.standard_error > together.standard_error:
                together = replace(
                    together, standard_error=seeds.standard_error, half_width=seeds.half_width
                )
        points.append(together)
    return points


def markdown(outcomes: Sequence[Outcome], axis: Axis) -> list[str]:
    """Return the lines of a table, see :func:`table`."""
    return table(outcomes[0].metric, axis, [(o.arm.name, o.digital, o.points) for o in outcomes])


def table(
    metric: Metric, axis: Axis, rows: Sequence[tuple[str, float, Sequence[Summary]]]
) -> list[str]:
    """Return lines of Markdown: name and digital metric of each training, and at each level mean ±
    standard error and worst chip (accuracies in %), the best mean of a level bold."""
    choose = min if metric.falls else max
    best = [choose(points[i].mean for _, _, points in rows) for i in range(len(axis.values))]
    levels = " | ".join(f"{axis.label} {axis.format(level)}" for level in axis.values)
    lines = [f"| training | digital | {levels} |", "|---|---|" + "---|" * len(axis.values)]
    for name, digital, points in rows:
        cells = []
        for point, top in zip(points, best, strict=True):
            mean = metric.format(point.mean)
            mean = f"**{mean}**" if point.mean == top else mean
            error = (
                ""
                if math.isnan(point.standard_error)
                else f" ± {metric.format(point.standard_error)}"
            )
            cells.append(f"{mean}{error} ({metric.format(point.worst)})")
        lines.append(f"| {name} | {metric.format(digital)} | {' | '.join(cells)} |")
    return lines
