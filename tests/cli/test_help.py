"""Help of every command: sentences, every word of them shown, and the options that all share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from cimsim.analysis.studies import STUDIES
from cimsim.cli import app
from cimsim.cli.evaluation import EvaluationOptions

Command = Callable[..., tuple[int, str, str]]
COMMANDS = [study.command for study in STUDIES if study.run is not None]
SHARED = {f"--{name.replace('_', '-')}" for name in EvaluationOptions.model_fields}


def commands(
    group: object, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*words, name), command
        yield from commands(command, (*words, name))


EVERY = dict(commands(typer.main.get_command(app)))


def visible(command: object) -> list[object]:
    return [p for p in command.params if not getattr(p, "hidden", False)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_help_text_is_whole_sentences_and_shown_whole(
    words: tuple[str, ...], cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    command = EVERY[words]
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", cimsim(*words, "--help")[1]).split())
    texts = [p.help for p in visible(command) if getattr(p, "help", None)]  # type: ignore[attr-defined]
    for text in (*texts, command.help):  # type: ignore[attr-defined]
        assert text[0].isupper(), text
        assert text.rstrip().endswith("."), text
        assert " ".join(text.split()) in shown, text


def test_defaults_are_printed_as_they_are_typed(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a command has another default than the configuration; words are in brackets."""
    monkeypatch.setenv("COLUMNS", "400")
    training, chips = cimsim("train", "--help")[1], cimsim("yield", "--help")[1]
    for text in (
        "or package.module:function. [default: digits]",
        "cuda:N or auto. [default: auto]",
    ):
        assert text in training
    for text in ("[default: 100]", "[default: 0s]", "[default: (each run's own)]"):
        assert text in chips


def test_a_default_in_the_help_overrides_no_recipe(cimsim: Command, tmp_path: Path) -> None:
    """A default is printed, but does not count as given: ``llm`` sets another ``--noise``."""
    out = tmp_path / "run"
    words = ["--profile", "ideal", "--recipe", "llm", "--objective", "cross-entropy"]
    code, _, err = cimsim("train", *words, "--epochs", 1, "--limit", 64, "--out", out)
    assert (code, err.count("error")) == (0, 0)
    settings = (out / "config.yaml").read_text(encoding="utf-8")
    assert "\nnoise: 1.0\n" in settings
    assert "\nclip_sigma: 2.5\n" in settings


@pytest.mark.parametrize("name", [*COMMANDS, "sweep"])
def test_commands_that_evaluate_share_their_options(name: str) -> None:
    options = {o for p in visible(EVERY[(name,)]) for o in p.opts}  # type: ignore[attr-defined]
    assert options >= SHARED
    assert "--on" not in options


@pytest.mark.parametrize("name", [*COMMANDS, "sweep", "cost", "generate"])
def test_the_old_name_of_profile_is_accepted(name: str) -> None:
    hidden = [o for p in EVERY[(name,)].params if getattr(p, "hidden", False) for o in p.opts]  # type: ignore[attr-defined]
    assert hidden == ["--on"]


def test_both_names_give_the_same(cimsim: Command, trained: Path) -> None:
    for flag in ("--on", "--profile"):
        code, _, err = cimsim(
            "yield", trained / "digital", "--above", 9, "--chips", 1, flag, "pcmm"
        )
        assert code == 2
        assert "unknown profile 'pcmm'" in err
        assert err.count("\n") == 1
