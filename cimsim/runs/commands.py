"""The commands that made a run and its results, from the files in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cimsim.analysis.report.blocks import path_text
from cimsim.analysis.report.commands import result_commands
from cimsim.profile import profile_names
from cimsim.runs.subject import RunSubject
from cimsim.training.config import make_config
from cimsim.training.run import PROFILE, Run


def commands_of(subject: RunSubject) -> Iterator[str]:
    """Yield the commands of training, sweeps and studies; a comment for a damaged result."""
    yield train_command(subject.run)
    yield from result_commands(subject)


def started_by(environment: dict[str, Any]) -> str:
    """The command line in a run's ``env.json``, without the folder of its program.

    >>> started_by({"command": ["/usr/bin/cimsim", "train", "--out", "a b"]})
    "cimsim train --out 'a b'"
    """
    words = environment.get("command")
    program, *arguments = map(str, words if isinstance(words, list) and words else ["?"])
    name = Path(program).name
    return shlex.join(["cimsim" if name == "__main__.py" else name, *arguments])


def train_command(run: Run) -> str:
    """``cimsim train`` with every setting that differs from its default."""
    config = run.config
    settings = config.model_dump(mode="json")
    if config.profile not in profile_names():  # a file, which may have been moved
        settings |= {"profile": path_text(run.path / PROFILE), "overrides": []}
    basis = {name: settings[name] for name in ("recipe", "profile")}
    usual = {
        **make_config(**basis).model_dump(mode="json"),
        "device": None,
    }  # chosen by the command
    changed = {name: value for name, value in settings.items() if value != usual[name]}
    changed.pop("chosen", None)  # a remark
    words = [word for name, value in {**basis, **changed}.items() for word in _option(name, value)]
    return shlex.join(["cimsim", "train", *words, "--out", path_text(run.path)])


def _option(name: str, value: Any) -> list[str]:
    flag = "--set" if name == "overrides" else "--" + name.replace("_", "-")
    if isinstance(value, list):
        return [word for part in value for word in (flag, str(part))]
    return [] if value is None else [flag, str(value)]
