"""The commands that made a run and its results, out of what its folder says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cimsim.analysis.budget import read_budget
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.store import BUDGET, Plan, read_sweep, sweep_folder, swept_axes
from cimsim.analysis.study import Facts
from cimsim.profile import profile_names
from cimsim.training.config import make_config
from cimsim.training.run import PROFILE, Run
from cimsim.units import format_duration, parse_duration


def commands_of(run: Run) -> Iterator[str]:
    """Training, sweeps and budget, as they can be typed again."""
    yield train_command(run)
    for axis in swept_axes(run.path):
        yield sweep_command(run, read_sweep(sweep_folder(run.path, axis)).plan)
    if (run.path / BUDGET / f"{BUDGET}.json").is_file():
        yield budget_command(run, read_budget(run.path).facts)


def started_by(environment: dict[str, Any]) -> str:
    """The command line in a run's ``env.json``, without where its program lies.

    >>> started_by({"command": ["/usr/bin/cimsim", "train", "--out", "a b"]})
    "cimsim train --out 'a b'"
    """
    program, *arguments = map(str, environment.get("command") or ["?"])
    name = Path(program).name
    return shlex.join(["cimsim" if name == "__main__.py" else name, *arguments])


def train_command(run: Run) -> str:
    """``cimsim train`` with every setting that is not what it would be without saying."""
    config = run.config
    settings = config.model_dump(mode="json")
    if config.profile not in profile_names():  # a file, which may be elsewhere by now
        settings |= {"profile": str(run.path / PROFILE), "overrides": []}
    basis = {name: settings[name] for name in ("recipe", "profile")}
    usual = {
        **make_config(**basis).model_dump(mode="json"),
        "device": None,
    }  # chosen by the command
    told = {name: value for name, value in settings.items() if value != usual[name]}
    words = [word for name, value in {**basis, **told}.items() for word in _option(name, value)]
    return shlex.join(["cimsim", "train", *words, "--out", str(run.path)])


def _option(name: str, value: Any) -> list[str]:
    flag = "--set" if name == "overrides" else "--" + name.replace("_", "-")
    if isinstance(value, list):
        return [word for part in value for word in (flag, str(part))]
    return [] if value is None else [flag, str(value)]


def sweep_command(run: Run, plan: Plan) -> str:
    """``cimsim sweep`` over the axis of ``plan``."""
    levels = ",".join(_level(plan.axis, level) for level in plan.levels)
    over = f"{plan.axis}={levels}"
    return shlex.join(["cimsim", "sweep", str(run.path), "--over", over, *_common(run, plan)])


def budget_command(run: Run, facts: Facts) -> str:
    """``cimsim budget`` as ``facts`` say."""
    words = ["--chips", str(facts.chips), "--age", _time(facts.age_s)]
    words += [] if facts.noise == 1 else ["--noise", f"{facts.noise:g}"]
    return shlex.join(["cimsim", "budget", str(run.path), *words, *_metric(facts)])


def _common(run: Run, plan: Plan) -> list[str]:
    words = ["--chips", str(plan.chips)]
    if plan.age_s:
        words += ["--age", _time(plan.age_s)]
    if plan.profile != run.devices.name:
        words += ["--on", plan.profile]
    return [*words, *_metric(plan), "--device", plan.device]


def _metric(asked: Plan | Facts) -> list[str]:
    usual = "perplexity" if asked.token else "accuracy"
    return [] if asked.metric == usual else ["--metric", asked.metric]


def _level(axis: str, level: Level) -> str:
    """A level as it is typed: short, but no other number."""
    if axis == "time":
        return _time(float(level or 0.0))
    short = Axis(axis, ()).format(level)
    return repr(level) if isinstance(level, float) and float(short) != level else short


def _time(seconds: float) -> str:
    short = format_duration(seconds).replace(" ", "")
    return short if parse_duration(short) == seconds else repr(seconds)
