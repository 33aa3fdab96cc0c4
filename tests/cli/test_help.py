"""Help of every command: sentences, every word of them shown, the options that all share, and the
modules that are imported for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from cimsim.analysis.shared_options import METRIC_HELP
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.sweeps.metric import METRICS
from cimsim.cli import command_line
from cimsim.cli.evaluation import EvaluationOptions
from cimsim.cli.list_commands import LISTING, listing_text
from cimsim.cli.listing import LISTED
from cimsim.training.data import load_data

Command = Callable[..., tuple[int, str, str]]
COMMANDS = [study.command for study in STUDIES if study.run is not None]
MODULES = {module for module, _ in LISTED.values()}
BARE = """
import typer
app = typer.Typer()
@app.command()
@app.command("other")
def one():
    "Do one thing."
"""
SHARED = {f"--{name.replace('_', '-')}" for name in EvaluationOptions.model_fields}


def commands(
    group: object, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*words, name), command
        yield from commands(command, (*words, name))


ROOT: Any = typer.main.get_command(command_line)
EVERY = dict(commands(ROOT.import_all()))


def visible(command: object) -> list[object]:
    return [p for p in command.params if not getattr(p, "hidden", False)]  # type: ignore[attr-defined]


def test_the_help_of_metric_names_each_and_what_needs_your_own_data() -> None:
    usual, own = METRIC_HELP.split("for classification of your own data")
    per_class = {name for name in METRICS if re.search(rf"\b{name}\b", own)}
    assert per_class == {"balanced_accuracy", "f1", "top5"}
    assert all(re.search(rf"\b{name}\b", usual) for name in set(METRICS) - per_class)
    tally = load_data("digits").task.tally()
    tally.add(torch.eye(10), torch.arange(10))
    assert per_class.isdisjoint(tally.scores())


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
    words = ["--profile", "pcm-ibm-2020", "--recipe", "llm", "--objective", "cross-entropy"]
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


def test_the_list_of_commands_is_written_by_its_program() -> None:
    assert LISTING.read_text(encoding="utf-8") == listing_text(), (
        "run `python -m cimsim.cli.list_commands`"
    )
    assert list(LISTED) == list(ROOT.commands)


def imported_by(code: str, words: list[str]) -> set[str]:
    """The modules that a fresh Python has imported after it has printed a help text."""
    code = f"""
import sys
{code}
try:
    app({words})
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    return set(done.stderr.split())


def test_the_list_of_commands_imports_little_more_than_a_command_line_without_commands() -> None:
    """No command, so that the list is printed at once; 16 modules at the time of writing."""
    more = imported_by("from cimsim.cli import command_line as app", ["--help"]) - imported_by(
        BARE, ["--help"]
    )
    assert "cimsim.cli.listing" in more
    assert not more & MODULES
    packages = {name.partition(".")[0] for name in more} - set(sys.stdlib_module_names)
    assert packages == {"cimsim", "lazy_loader"}
    assert len(more) <= 24, sorted(more)


@pytest.mark.parametrize("name", LISTED)
def test_the_help_of_a_command_imports_neither_other_commands_nor_large_libraries(
    name: str,
) -> None:
    """The modules of studies import those of the studies that they are made from."""
    module, _ = LISTED[name]
    imported = imported_by("from cimsim.cli import command_line as app", [name, "--help"])
    assert imported & MODULES == imported_with(module) & MODULES
    assert module in imported
    assert not imported & {"torch", "numpy", "scipy", "sklearn", "matplotlib", "safetensors"}


def imported_with(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_one_study_is_imported_without_the_others() -> None:
    imported = imported_with("cimsim.analysis.studies.life") & MODULES
    assert imported == {"cimsim.analysis.studies.life"}
