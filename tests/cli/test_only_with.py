"""Options that need others are refused without them: every declared one, in every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import cimsim as library
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import flag_of
from cimsim.cli.only_with import RULES, OnlyWith, refuse_without_effect
from cimsim.errors import CimsimError
from tests.cli.conftest import Command
from tests.cli.test_help import EVERY

LACKS_AND_HAS: dict[str, tuple[list[str], list[str]]] = {
    "tables": (["--json"], []),
    "the table of all networks": (["digits-mlp"], []),
    "--engine ray": (["--engine", "local"], ["--engine", "ray"]),
    "--engine local": (["--engine", "ray"], []),
    "a chip": (["--digital"], []),
    "a --temperature above 0": (["--temperature", "0"], ["--temperature", "0.1"]),
    "runs": ([], ["RUN"]),
    "a model without a run": (["RUN"], []),
    "a run": ([], ["RUN"]),
}
"""By what options apply to: arguments of a command without it, and of one with it."""


class Declared(NamedTuple):
    """An option of a command, and a rule for it."""

    words: tuple[str, ...]
    option: Any
    rule: OnlyWith

    def arguments(self, others: list[str]) -> list[str]:
        """The command's arguments: the required ones, ``others`` and the option."""
        return [*required(EVERY[self.words]), *others, *given(self.option)]


def required(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.required and each.param_type_name == "argument":
            yield "NAME"
        elif each.required:
            yield from given(each)


def given(option: Any) -> list[str]:
    return [option.opts[0]] if option.is_flag else [option.opts[0], "77"]  # or a name


DECLARED = [
    Declared(words, option, rule)
    for words, command in EVERY.items()
    for rule in RULES
    if not hasattr(command, "commands")
    and rule.concerns(" ".join(words), {p.name: p for p in command.params})  # type: ignore[attr-defined]
    for option in command.params  # type: ignore[attr-defined]
    if option.name in rule.options
]


def name_of(declared: Declared) -> str:
    return f"{' '.join(declared.words)} {declared.option.opts[0]}, {declared.rule.where}"


@pytest.mark.parametrize("declared", DECLARED, ids=name_of)
def test_an_option_without_effect_is_refused(declared: Declared, cimsim: Command) -> None:
    lacks, has = LACKS_AND_HAS[declared.rule.where]
    flag = declared.option.opts[0]
    done = cimsim(*declared.words, *declared.arguments(lacks))
    assert (done.code, done.out) == (2, "")
    assert f"{flag} applies to {declared.rule.where} only; " in done.err
    assert done.err.endswith(f"or leave {flag} out\n")
    assert done.err.count("\n") == 1
    command: Any = EVERY[declared.words]
    path = " ".join(("cimsim", *declared.words))
    with command.make_context(path, declared.arguments(has)) as context:
        refuse_without_effect(context)


def test_every_rule_concerns_a_command() -> None:
    assert {id(declared.rule) for declared in DECLARED} == set(map(id, RULES))
    assert len({declared.rule.options for declared in DECLARED}) > 5


def test_a_default_is_no_reason_to_refuse(cimsim: Command) -> None:
    """Whoever writes it out gets what it says."""
    for args in (
        ["generate", "RUN", "--digital", "--age", "0s", "--cycle", "0"],
        ["generate", "RUN", "--temperature", "0", "--seed", "0"],
        ["sweep", "RUN", "--over", "noise=1", "--engine", "ray", "--workers", "1"],
    ):
        assert "only" not in cimsim(*args).err


def test_several_options_are_named_at_once(cimsim: Command) -> None:
    done = cimsim("cost", "RUN", "--model", "cnn", "--input", "1x28x28", "--classes", 3)
    assert done.err == (
        "cimsim: error: --model, --input and --classes apply to a model without a run only; remove "
        "RUN, or leave them out\n"
    )


NEEDS = [
    (study, name, needed)
    for study in STUDIES
    if study.run is not None
    for name, needed in study.options.needs().items()
]


@pytest.mark.parametrize(("study", "name", "needed"), NEEDS)
def test_options_of_studies_that_need_another_one(
    study: Any, name: str, needed: str, cimsim: Command
) -> None:
    flag, other = (flag_of(each, study.options) for each in (name, needed))
    done = cimsim(study.command, "RUN", flag, 4)
    expected = f"{flag} applies to {other} only; add it, or leave {flag} out\n"
    assert (done.code, done.err) == (2, f"cimsim: error: {expected}")
    with pytest.raises(CimsimError, match=f"^{name} applies to {needed} only; add it, or leave "):
        getattr(library, study.function)("model", "score", **{name: 4})


def test_studies_that_need_others() -> None:
    assert {f"{study.name} {name}" for study, name, _ in NEEDS} == {"budget orders", "life budget"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--teacher", "labels"], "--teacher applies to parts that learn (chip-in-the-loop, "),
        (
            ["--seed", "3"],
            "--seed applies to parts with random numbers (rewrite, low-rank, sparse) only; ",
        ),
    ],
)
def test_parts_of_an_adaptation_without_a_teacher_or_draws(
    args: list[str], message: str, trained: Path, cimsim: Command
) -> None:
    done = cimsim("adapt", trained / "digital", "--parts", "ranges,gain-offset", *args)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert re.search(r"only; add one, or leave --\w+ out\n$", done.err)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seed", "3"], "--seed applies to a search only, but all 2 designs are evaluated; "),
        (["--chips", "5", "--final-chips", "4"], "--final-chips 4 must be at least --chips 5"),
    ],
)
def test_an_exploration_that_draws_or_repeats_nothing(
    args: list[str], message: str, trained: Path, cimsim: Command
) -> None:
    done = cimsim("explore", trained / "digital", "--over", "adc.bits=4,8", *args)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_folder_of_data_for_models_that_define_theirs(tmp_path: Path, cimsim: Command) -> None:
    for command in (["sweep", "--over", "noise=1"], ["cost"], ["report"], ["life"]):
        done = cimsim(*command, "package.module:function", "--data-dir", tmp_path)
        expected = "--data-dir applies to runs only; name one, or leave --data-dir out"
        assert done.err == f"cimsim: error: {expected}\n"
