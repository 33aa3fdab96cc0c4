"""The commands that made a run and its results, out of what its folder says."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cimsim.analysis.advise import Advice, read_advice
from cimsim.analysis.advise import Asked as AdviceAsked
from cimsim.analysis.budget import read_budget
from cimsim.analysis.chip_yield import ChipYield, read_yield
from cimsim.analysis.cost import Cost, read_cost
from cimsim.analysis.explore import Exploration, read_exploration
from cimsim.analysis.heat_map import map_folders, read_map
from cimsim.analysis.levels import Axis, format_axis
from cimsim.analysis.life import Life, read_life
from cimsim.analysis.report.blocks import typed_path
from cimsim.analysis.report.each import UNFIT, reason_of
from cimsim.analysis.sensitivity import Sensitivity, read_sensitivity
from cimsim.analysis.shapley import Attribution, read_attribution
from cimsim.analysis.store import Plan, read_sweep, sweep_folder, swept_axes
from cimsim.analysis.study import Facts
from cimsim.analysis.tolerance import read_tolerance, tolerated_axes
from cimsim.analysis.waterfall import read_waterfall
from cimsim.profile import profile_names, typed_profile
from cimsim.terminal import one_line
from cimsim.training.config import make_config
from cimsim.training.run import PROFILE, Run
from cimsim.units import typed_duration


def commands_of(run: Run) -> Iterator[str]:
    """Training, sweeps and studies, as they can be typed again; a comment for a damaged one."""
    yield train_command(run)
    for command in _of_results(run):
        try:
            yield command()
        except UNFIT as error:
            yield f"# {one_line(reason_of(error))}"


def _of_results(run: Run) -> Iterator[Callable[[], str]]:
    for axis in swept_axes(run.path):
        yield partial(_sweep_command, run, axis)
    for folder in map_folders(run.path):
        yield partial(_map_command, run, folder)
    for axis in tolerated_axes(run.path):
        yield partial(_tolerance_command, run, axis)
    for file, command in _STUDIES.items():
        if (run.path / file).is_file():
            yield partial(command, run)


def started_by(environment: dict[str, Any]) -> str:
    """The command line in a run's ``env.json``, without where its program lies.

    >>> started_by({"command": ["/usr/bin/cimsim", "train", "--out", "a b"]})
    "cimsim train --out 'a b'"
    """
    typed = environment.get("command")
    program, *arguments = map(str, typed if isinstance(typed, list) and typed else ["?"])
    name = Path(program).name
    return shlex.join(["cimsim" if name == "__main__.py" else name, *arguments])


def train_command(run: Run) -> str:
    """``cimsim train`` with every setting that is not what it would be without saying."""
    config = run.config
    settings = config.model_dump(mode="json")
    if config.profile not in profile_names():  # a file, which may be elsewhere by now
        settings |= {"profile": typed_path(run.path / PROFILE), "overrides": []}
    basis = {name: settings[name] for name in ("recipe", "profile")}
    usual = {
        **make_config(**basis).model_dump(mode="json"),
        "device": None,
    }  # chosen by the command
    told = {name: value for name, value in settings.items() if value != usual[name]}
    words = [word for name, value in {**basis, **told}.items() for word in _option(name, value)]
    return shlex.join(["cimsim", "train", *words, "--out", typed_path(run.path)])


def _option(name: str, value: Any) -> list[str]:
    flag = "--set" if name == "overrides" else "--" + name.replace("_", "-")
    if isinstance(value, list):
        return [word for part in value for word in (flag, str(part))]
    return [] if value is None else [flag, str(value)]


def _sweep_command(run: Run, axis: str) -> str:
    plan = read_sweep(sweep_folder(run.path, axis)).plan
    over = ["--over", format_axis(Axis(plan.axis, plan.levels))]
    layers = [word for text in plan.layers for word in ("--layer", text)]
    return _study("sweep", run, *over, *_asked(plan), *layers, "--device", plan.device)


def _map_command(run: Run, folder: Path) -> str:
    found = read_map(folder)
    x, y = Axis(found.x, found.x_levels), Axis(found.y, found.y_levels)
    axes = ["--x", format_axis(x), "--y", format_axis(y)]
    factor = found.facts.measured.factor
    lines = ",".join(_shown(line.value, factor) for line in found.lines)
    return _study("map", run, *axes, *_asked(found.facts), "--lines", lines)


def _tolerance_command(run: Run, key: str) -> str:
    found, axis = read_tolerance(run.path, key), Axis(key, ())
    ends = ["--from", axis.typed(found.start), "--to", axis.typed(found.stop)]
    where = ["--over", key, "--within", _shown(found.within), *ends]
    return _study("tolerance", run, *where, *_asked(found.facts))


def _budget_command(run: Run) -> str:
    return _study("budget", run, *_aged(read_budget(run.path).facts))


def _waterfall_command(run: Run) -> str:
    return _study("budget", run, "--waterfall", *_aged(read_waterfall(run.path).facts))


def _shapley_command(run: Run) -> str:
    found: Attribution = read_attribution(run.path)
    orders = [] if found.orders is None else ["--orders", str(found.orders)]
    return _study("budget", run, "--shapley", *orders, *_aged(found.facts))


def _life_command(run: Run) -> str:
    found: Life = read_life(run.path)
    ends = (typed_duration(found.ages_s[at]) for at in (0, -1))
    words = [word for pair in zip(("--from", "--to"), ends, strict=True) for word in pair]
    points = ["--points", str(len(found.ages_s))]
    return _study("life", run, *words, *points, *_asked(found.facts))


def _yield_command(run: Run) -> str:
    found: ChipYield = read_yield(run.path)
    metric = found.facts.measured
    which = "--below" if metric.falls else "--above"
    threshold = _shown(found.threshold, metric.factor)
    return _study("yield", run, which, threshold, *_asked(found.facts))


def _sensitivity_command(run: Run) -> str:
    found: Sensitivity = read_sensitivity(run.path)
    return _study("sensitivity", run, *_on_layers(found), *_metric(found))


def _advise_command(run: Run) -> str:
    found: Advice = read_advice(run.path)
    asked, factor = found.asked, found.measured.factor
    words = ["--within", _shown(asked.within, factor), "--bits", str(asked.bits)]
    words += [] if asked.better is None else ["--better", asked.better]
    words += ["--by", "macs" if asked.by == "products" else "parameters"]
    return _study("advise", run, *words, *_on_layers(asked), *_metric(found))


def _cost_command(run: Run) -> str:
    found: Cost = read_cost(run.path)
    names = {profile.name for profile in run.devices.profiles}
    own = [text for profile in run.devices.profiles for text in profile.overrides]
    here = set(found.profile.split(", ")) == names and _keys(own) <= _keys(found.overrides)
    changes = [text for text in found.overrides if not here or text not in own]
    words = [*_on(None if here else found.profile)]
    words += [word for text in changes for word in ("--set", text)]
    return _study("cost", run, *words, "--inputs", str(found.inputs))


def _keys(overrides: Iterable[str]) -> set[str]:
    return {text.partition("=")[0] for text in overrides}


def _explore_command(run: Run) -> str:
    found: Exploration = read_exploration(run.path)
    asked = found.asked
    words = [word for text in asked.over for word in ("--over", text)]
    words += [word for name in asked.devices for word in ("--on", name)]
    numbers = {
        "--budget": asked.budget,
        "--chips": asked.chips,
        "--final-chips": asked.final_chips,
        "--cost": asked.cost,
        "--seed": asked.seed,
    }
    words += [str(word) for pair in numbers.items() for word in pair]
    facts = found.facts
    return _study(
        "explore",
        run,
        *(typed_path(Path(name)) for name in asked.runs[1:]),
        *words,
        *_circumstances(facts),
        *_metric(facts),
    )


_STUDIES: dict[str, Callable[[Run], str]] = {
    "budget/budget.json": _budget_command,
    "budget/waterfall.json": _waterfall_command,
    "budget/shapley.json": _shapley_command,
    "sensitivity/sensitivity.json": _sensitivity_command,
    "advice/advice.json": _advise_command,
    "life/life.json": _life_command,
    "yield/yield.json": _yield_command,
    "cost/cost.json": _cost_command,
    "explore/explore.json": _explore_command,
}


def _study(name: str, run: Run, *words: str) -> str:
    return shlex.join(["cimsim", name, typed_path(run.path), *words])


def _asked(asked: Plan | Facts) -> list[str]:
    """Chips, age, noise, device and metric."""
    return [*_chips(asked), *_circumstances(asked), *_on(asked.on), *_metric(asked)]


def _on(name: str | None) -> list[str]:
    return [] if name is None else ["--on", typed_profile(name)]


def _shown(value: float, factor: float = 1.0) -> str:
    """``factor`` times ``value`` as it is typed: short, but so that ``value`` comes of it."""
    short = f"{factor * value:.10g}"
    return short if float(short) / factor == value else repr(factor * value)


def _aged(facts: Facts) -> list[str]:
    """The same for a study whose chips are old where nothing is said."""
    told = _asked(facts)
    return told if facts.age_s else [*told, "--age", "0s"]


def _on_layers(asked: Sensitivity | AdviceAsked) -> list[str]:
    """Chips, age, noise and samples."""
    samples = [] if asked.samples is None else ["--samples", str(asked.samples)]
    return [*_chips(asked), *_circumstances(asked), *samples]


def _chips(asked: Plan | Facts | Sensitivity | AdviceAsked) -> list[str]:
    return ["--chips", str(asked.chips)]


def _circumstances(asked: Plan | Facts | Sensitivity | AdviceAsked) -> list[str]:
    words = ["--age", typed_duration(asked.age_s)] if asked.age_s else []
    noise = 1.0 if isinstance(asked, Plan) else asked.noise
    return words if noise == 1 else [*words, "--noise", _shown(noise)]


def _metric(asked: Plan | Facts | Sensitivity | Advice) -> list[str]:
    usual = "perplexity" if asked.token else "accuracy"
    return [] if asked.metric == usual else ["--metric", asked.metric]
