"""Results under other conditions are kept beside each other, for every study of the registry."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.analysis.conditions import file_suffix
from cimsim.analysis.cost.result import STUDY as COST
from cimsim.analysis.functions import FUNCTIONS
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import Result, Study
from cimsim.analysis.subjects import ModelSubject
from cimsim.errors import CimsimError
from cimsim.profile import load_profile

OWN, OTHER = "pcm-ibm-2020", "pcm-hermes-2023"  # both age
YIELD = next(study for study in STUDIES if study.name == "yield")
Evaluate = Callable[..., Result]


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Compute the result of a study of a small model, which is kept in ``tmp_path``; no figures."""
    monkeypatch.setattr("cimsim.analysis.figures.canvas.write", lambda *_, **__: None)
    monkeypatch.setattr("cimsim.analysis.figures.canvas.save", lambda *_, **__: ())
    torch.manual_seed(0)
    x = torch.rand(40, 8)
    layers = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    model = cimsim.calibrate(cimsim.convert(layers, OWN), [x])
    batches = [(x, layers(x).argmax(1))]
    subject = ModelSubject(model, batches, calibration=[x], inputs=x, folder=tmp_path)

    def run(study: Study[Any], **keywords: Any) -> Any:
        if study is COST:
            return cimsim.cost(subject, x, **keywords)
        function = next(s.function for s in STUDIES if s.command == study.command and s.run)
        return FUNCTIONS[function](subject, **{**_example(study), "chips": 2, **keywords})

    return run


def _example(study: Study[Any]) -> dict[str, Any]:
    """The options of the study's example as keywords."""
    words, given = shlex.split(study.example), {}
    for i, word in enumerate(words):
        if word.startswith("--"):
            value = words[i + 1] if i + 1 < len(words) else True
            given[word.removeprefix("--")] = float(value) if value == "90" else value
    few = {"points": 2}  # ages of a life
    return given | {name: n for name, n in few.items() if name in study.options.model_fields}


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_result_under_other_conditions_replaces_none(
    study: Study[Any], evaluate: Evaluate, tmp_path: Path
) -> None:
    own, other = evaluate(study), evaluate(study, profile=OTHER)
    assert own.conditions != other.conditions
    assert OTHER in other.conditions
    assert OTHER not in own.conditions
    files = {path.relative_to(tmp_path).as_posix() for path in study.paths(tmp_path)}
    assert files == {f"{own.file}.json", f"{other.file}.json"}
    name = study.own_part(tmp_path / f"{own.place}.json", tmp_path)
    for result in (own, other):
        kept = study.read(tmp_path, name, result.conditions)
        assert list(kept.rows()) == list(result.rows())


def test_more_chips_replace_the_result(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate(YIELD)
    more = evaluate(YIELD, chips=3)
    (path,) = YIELD.paths(tmp_path)
    assert path == tmp_path / f"{more.file}.json"


def test_the_name_states_what_differs(evaluate: Evaluate, tmp_path: Path) -> None:
    assert evaluate(YIELD, above=80).file == "yield/yield_above=80"
    changed = load_profile(OWN, ["adc.bits=6"])
    result = evaluate(YIELD, noise=0.5, age="1h", profile=changed, samples=20)
    conditions = (OWN, "adc.bits=6", "noise=0.5", "age=1h", "samples=20", "above=90")
    assert result.conditions == conditions
    assert result.file.startswith("yield/yield_pcm-ibm-2020_adc.bits=6_noise=0.5_age=1h")
    with pytest.raises(CimsimError, match="there is no such result, but 2 under other conditions"):
        YIELD.read(tmp_path)
    assert YIELD.read(tmp_path, conditions=["above=80"]).options().above == 80
    assert evaluate(COST, profile=changed).file == "cost/cost_adc.bits=6"


def test_names_are_short_and_different() -> None:
    long = [f"cell.read_noise.0.strength={number}" for number in range(9)]
    names = {file_suffix(long), file_suffix(long[::-1]), file_suffix(["a/b"]), file_suffix(["a:b"])}
    assert len(names) == 4
    assert all(len(name) < 80 and "/" not in name and ":" not in name for name in names)


def test_a_result_of_an_older_version_is_read_until_a_newer_one_replaces_it(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    result = evaluate(YIELD, noise=2.0)
    (new,) = YIELD.paths(tmp_path)
    old = new.rename(new.with_name("yield.json"))  # older versions had one name for all
    assert YIELD.paths(tmp_path) == [old]
    assert YIELD.read(tmp_path) == result
    evaluate(YIELD, noise=2.0)
    assert YIELD.paths(tmp_path) == [new]
    old.write_text("{")
    assert YIELD.paths(tmp_path) == [old, new]  # a report shows that it is damaged
