"""Numbers without a meaning end a command before anything else happens, whatever the option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from tests.cli.test_help import EVERY

Command = Callable[..., tuple[int, str, str]]
MAY_BE_NEGATIVE = {"--above", "--below"}
"""Thresholds of R² and of scores of the user's own."""
NUMBER_OR_WORD = {"noise"}
"""Options of trainings that are text because of a word."""
NEEDED = {
    "--profile": "ideal",
    "--methods": "digital",
    "--over": "noise=0:1:1",
    "--x": "noise=0:1:1",
    "--y": "adc.bits=4,6",
    "--from-csv": "measured.csv",
}
"""Options that a command may need, besides the one in question."""


class Case(NamedTuple):
    """An option of a command, and a value that it must refuse."""

    words: tuple[str, ...]
    option: str
    value: str

    def __str__(self) -> str:
        return " ".join((*self.words, f"{self.option}={self.value}"))


def kind_of(annotation: Any) -> type | None:
    """``int`` or ``float``, which ``Annotated`` and None may be around; None for others."""
    inner = [kind for part in get_args(annotation) for kind in (part, *get_args(part))]
    return next((kind for kind in (int, float) if kind in (annotation, *inner)), None)


def cases() -> Iterator[Case]:
    for words, command in EVERY.items():
        callback: Any = getattr(command, "callback", None)
        if callback is None or getattr(command, "commands", None):
            continue
        known = inspect.signature(callback, eval_str=True).parameters
        for parameter in command.params:  # type: ignore[attr-defined]
            kind = kind_of(known[parameter.name].annotation) if parameter.name in known else None
            if words[0] in ("train", "compare") and parameter.name in NUMBER_OR_WORD:
                kind = float
            option = parameter.opts[0]
            if kind is float:
                yield from (Case(words, option, value) for value in ("nan", "inf", "-inf"))
            if kind is not None and option not in MAY_BE_NEGATIVE:
                yield Case(words, option, "-1")


CASES = list(cases())


def test_the_options_of_all_commands_are_found() -> None:
    found = {(*case.words, case.option) for case in CASES}
    assert len(found) > 100
    assert {
        ("train", "--gaussian-cutoff"),
        ("train", "--noise"),
        ("compare", "--chips"),
        ("yield", "--above"),
        ("advise", "--within"),
        ("generate", "--temperature"),
        ("profiles", "new", "--skip-rows"),
        ("plot", "--dpi"),
    } <= found


@pytest.mark.parametrize("words", [["--out="], ["--out", ""], ["--out=made", ""]])
def test_an_empty_argument_is_refused(
    words: list[str], cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, err = cimsim("train", "--profile", "ideal", *words)
    assert (code, printed) == (2, "")
    assert "is an empty argument, such as an unset shell variable" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_number_without_a_meaning_is_refused(
    case: Case, cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parameters: Any = EVERY[case.words].params  # type: ignore[attr-defined]
    flags = {flag: p for p in parameters for flag in p.opts}
    needed = [f"{flag}={value}" for flag, value in NEEDED.items() if flag in flags]
    places = ["RUN" for p in parameters if p.param_type_name == "argument"]
    out = ["--out=made"] if "--out" in flags and flags["--out"].required else []
    code, printed, err = cimsim(*case.words, *places, *needed, *out, f"{case.option}={case.value}")
    name = case.option.lstrip("-")
    assert (code, printed) == (2, "")
    assert name in err or name.replace("-", "_") in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
