"""The commands that a report lists make what the run has."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.cli import main
from cimsim.profile import dump_profile, load_profile
from cimsim.runs.commands import train_command
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.subjects import commands_of, sweep


def results(run: Path) -> dict[str, str]:
    """Every result, but not what it was made of, nor where a search had found its run."""
    files = (path for path in run.glob("*/**/*.json") if path.name != "sweep.json")
    return {
        path.relative_to(run).as_posix(): re.sub(
            r'"(runs": \[[^]]*\]|sha256": "\w*")', "", path.read_text()
        )
        for path in files
    }


@pytest.mark.long
def test_the_commands_make_the_results_again(own: Run) -> None:
    before = results(own.path)
    train, *studies = commands_of(own)
    assert train == (
        "cimsim train --profile pcm-ibm-2020 --method digital --epochs 2 --device cpu "
        f"--out {own.path}"
    )
    for command in studies:
        program, *words = shlex.split(command)
        assert program == "cimsim"
        with pytest.raises(SystemExit, match="0"):
            main(words)
    after = results(own.path)
    assert {name for name in before if before[name] != after[name]} == set()
    assert set(after) == set(before)


@pytest.mark.long
def test_they_are_short(own: Run) -> None:
    _, *studies = commands_of(own)
    commands = [command.replace(str(own.path), "RUN") for command in studies]
    assert "cimsim sweep RUN --over noise=0,1,2 --chips 2 --device cpu" in commands
    assert "cimsim budget RUN --chips 1 --age 1min --noise 3" in commands
    assert "cimsim budget RUN --shapley --orders 4 --chips 1 --age 1d" in commands
    assert "cimsim yield RUN --above 81.5 --chips 6 --age 1d --noise 4" in commands
    assert "cimsim cost RUN --set adc.bits=6 --inputs 3" in commands
    assert any(
        command.startswith("cimsim adapt RUN --parts gain-offset,affine") for command in commands
    )
    assert len(commands) == 14  # a tolerance adds a sweep over its axis


def test_settings_that_differ_from_a_recipe_are_told(trained: Path) -> None:
    run = Run.open(trained)
    changes = {"recipe": "robust", "augment": (), "overrides": ("adc.bits=6",)}
    run.config = run.config.model_copy(update={**changes, "keep_digital": ("first", "a b")})
    command = train_command(run)
    assert command.startswith(
        "cimsim train --recipe robust --profile pcm-ibm-2020 --set adc.bits=6"
    )
    assert "--average 0.0" in command
    assert "--keep-digital first --keep-digital 'a b'" in command


def test_a_run_with_devices_of_its_own_for_layers_is_swept_on_them_again(tmp_path: Path) -> None:
    settings = {"epochs": 1, "limit": 64, "layer": ("hidden2:profile=ideal",)}
    run = fit(make_config(profile="pcm-ibm-2020", method="digital", **settings), tmp_path / "run")
    sweep([run], parse_axis("noise=0,1"), 1)
    _, command = commands_of(run)
    assert command == f"cimsim sweep {run.path} --over noise=0,1 --chips 1 --device cpu"


def test_devices_that_are_not_those_of_training_are_named(tmp_path: Path) -> None:
    settings = {"epochs": 1, "limit": 64, "overrides": ("adc.bits=7",)}
    settings |= {"layer": ("hidden1:profile=pcm-hermes-2023",)}
    run = fit(make_config(profile="pcm-ibm-2020", method="digital", **settings), tmp_path / "run")
    own = tmp_path / "mine.yaml"
    own.write_text(dump_profile(load_profile("pcm-ibm-2020").model_copy(update={"name": "mine"})))
    typed = {
        "sweep": ["--over=noise=0", "--layer=hidden2:digital", "--layer=c*:adc.bits=null"],
        "yield": ["--above=50", "--profile=pcm-ibm-2020"],  # without adc.bits=7
        "life": ["--points=2", f"--on={own}"],
        "cost": [],
    }
    for name, words in typed.items():
        chips = ["--chips=1", "--device=cpu"] if name != "cost" else []
        with pytest.raises(SystemExit, match="0"):
            main([name, str(run.path), *words, *chips])
    _, *commands = (text.replace(str(run.path), "RUN") for text in commands_of(run))
    assert commands == [
        "cimsim sweep RUN --over noise=0 --chips 1 --layer hidden2:digital --layer "
        "'c*:adc.bits=null' --device cpu",
        "cimsim life RUN --from 1s --to 10y --points 2 --chips 1 --profile mine.yaml",
        "cimsim yield RUN --above 50 --chips 1 --profile pcm-ibm-2020",
        "cimsim cost RUN --inputs 16",
    ]
    with pytest.raises(SystemExit, match="0"):
        main(["cost", str(run.path), "--on", "pcm-ibm-2020"])
    assert list(commands_of(run))[-1].endswith("--profile pcm-ibm-2020 --inputs 16")


def test_a_search_goes_with_its_run_wherever_that_lies(trained: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(trained, tmp_path / name / "run") for name in ("a", "b")]
    words = ["explore", *map(str, runs), "--over", "adc.bits=4", "--chips", "1"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--final-chips", "1", "--device", "cpu"])
    moved = shutil.move(runs[0], tmp_path / "moved")
    _, command = commands_of(Run.open(moved))
    assert command.startswith(f"cimsim explore {moved} {runs[1]} --over adc.bits=4 ")


def test_a_search_over_several_runs_names_them_all(trained: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(trained, tmp_path / name) for name in ("a", "b")]
    words = ["explore", *map(str, runs), "--over", "adc.bits=4", "--chips", "1"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--final-chips", "1", "--device", "cpu"])
    _, command = commands_of(Run.open(runs[0]))
    assert command == (
        f"cimsim explore {runs[0]} {runs[1]} --over adc.bits=4 --budget 40 --chips 1 "
        "--final-chips 1 --cost energy --seed 0"
    )
