"""Designs that no other beats in accuracy and cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cimsim.analysis.cost import cost_of, workload_of
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.shown import as_json, write_result
from cimsim.analysis.studies.designs import OBJECTIVES, DesignAxis, Space
from cimsim.analysis.studies.explore import STUDY, Exploration, explore
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.engine import LocalEngine, Task
from cimsim.analysis.sweeps.metric import Scores
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from cimsim.runs import RunSubject
from cimsim.training.run import Run

AXES = ("adc.bits=2,4,8", "array.rows=32,64")
ONE = Evaluation(chips=1)


class Counting(LocalEngine):
    """Counts the cells that are evaluated."""

    cells = 0

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        self.cells += len(tasks)
        return super().scores(subjects, tasks, device)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def space_of(*runs: Run, axes: Sequence[str] = AXES) -> Space:
    return Space(tuple(map(RunSubject, runs)), (None,), tuple(map(parse_axis, axes)))


def beaten(found: Exploration) -> list[bool]:
    """Whether each point is, by comparing all with all."""
    falls, of = found.facts.measured.falls, found.objective.of
    values = [(of(p), p.score.mean if falls else -p.score.mean) for p in found.points]
    return [any(a <= c and b <= d and (a, b) != (c, d) for a, b in values) for c, d in values]


def test_a_small_space_is_evaluated_whole_and_its_front_is_not_beaten(run: Run) -> None:
    found = explore(space_of(run), ONE, budget=10, final_chips=2)
    assert len(found.points) == found.designs == 6
    assert [not p.on_front for p in found.points] == beaten(found)
    assert all(p.score.chips == 2 for p in found.front)
    energies = [p.energy_pJ for p in found.points]
    assert energies == sorted(energies)
    assert {p.changes for p in found.points} == {
        f"adc.bits={bits} array.rows={rows}" for bits in (2, 4, 8) for rows in (32, 64)
    }


def test_costs_and_scores_are_those_of_the_design(run: Run) -> None:
    found = explore(space_of(run, axes=["adc.bits=4,8"]), ONE, budget=2, final_chips=1)
    profile = load_profile(str(run.path / "profile.yaml"), ["adc.bits=4"])
    cost = cost_of(workload_of(run.chip_model(), run.data.test_x[:64]), profile=profile)
    (point,) = (p for p in found.points if p.changes == "adc.bits=4")
    assert point.energy_pJ == cost.energy_pJ.total
    assert point.latency_ns == cost.latency_ns
    assert point.area_um2 == cost.area_um2.total
    swept = ONE.sweep(RunSubject(run), parse_axis("adc.bits=4"))
    assert point.score.mean == swept.trials[0].scores["accuracy"]


@pytest.mark.parametrize("cost", OBJECTIVES)
def test_any_cost_can_be_small(run: Run, cost: str) -> None:
    found = explore(space_of(run), ONE, budget=6, final_chips=1, cost=cost)
    assert [not p.on_front for p in found.points] == beaten(found)


def test_runs_and_devices_are_chosen_too(run: Run, trained: Path, tmp_path: Path) -> None:
    other = Run.open(shutil.copytree(trained, tmp_path / "other"))
    run.result["digital_accuracy"] = 0.99  # the better one is not the last one evaluated
    profiles = (load_profile("ideal"), load_profile("pcm-hermes-2023"))
    space = Space((RunSubject(run), RunSubject(other)), profiles, (parse_axis("adc.bits=4,8"),))
    found = explore(space, ONE, budget=8, final_chips=1)
    better = max((run, other), key=lambda run: run.digital_accuracy)
    assert found.facts.digital == better.digital_accuracy
    assert found.facts.profile == "ideal, pcm-hermes-2023"
    kinds = {(p.run, p.profile) for p in found.points}
    assert kinds == {(r, d) for r in ("run", "other") for d in ("ideal", "pcm-hermes-2023")}


def test_a_search_evaluates_its_budget_and_goes_on(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the extra 'tune'")
    axes = ("adc.bits=3,4,5,6,7,8", "array.rows=32,64,128", "noise=0,1,2")
    engine = Counting()
    evaluation = replace(ONE, engine=engine)
    first = explore(space_of(run, axes=axes), evaluation, budget=5, final_chips=1)
    assert (len(first.points), engine.cells, first.designs) == (5, 5, 54)
    again = explore(space_of(run, axes=axes), evaluation, budget=5, final_chips=1)
    assert as_json(again) == as_json(first)
    assert engine.cells == 5
    more = explore(space_of(run, axes=axes), evaluation, budget=5, final_chips=1, seed=1)
    assert {p.changes for p in more.points} != {p.changes for p in first.points}


def test_without_optuna_a_large_space_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(CimsimError, match=r"needs Optuna: run `pip install optuna`"):
        explore(space_of(run), ONE, budget=3)


def test_what_makes_no_sense_is_refused(run: Run) -> None:
    with pytest.raises(CimsimError, match="unknown cost 'energi'; did you mean 'energy'"):
        explore(space_of(run), ONE, cost="energi")
    with pytest.raises(CimsimError, match="time is not part of a design"):
        space_of(run, axes=["time=1s,1d"])
    with pytest.raises(CimsimError, match=r"adc\.bits is given twice"):
        space_of(run, axes=["adc.bits=4", "adc.bits=8"])
    with pytest.raises(CimsimError, match=r"adc\.bitz"):
        explore(space_of(run, axes=["adc.bitz=4,8"]), ONE)


def test_changes_are_made_in_their_order() -> None:
    profile = DesignAxis("explore", ()).apply(load_profile("ideal"), "adc.bits=6 array.rows=40")
    assert (profile.adc.bits, profile.array.rows) == (6, 40)


def test_it_is_kept_and_drawn(run: Run, tmp_path: Path) -> None:
    found = explore(space_of(run), ONE, budget=6, final_chips=2)
    write_result(run.path, found)
    assert as_json(STUDY.read(run.path)) == as_json(found)
    rows = (run.path / "explore" / "explore.csv").read_text().splitlines()
    assert len(rows) == 7
    assert rows[0].startswith("on_front,run,profile,changes,energy_pJ")
    one = replace(found, points=found.points[:1])
    assert all(path.stat().st_size > 5000 for path in save(one.figure(), tmp_path / "one.png"))
    (run.path / "explore" / "explore.json").write_text("{")
    with pytest.raises(CimsimError, match="is damaged; run `cimsim explore"):
        STUDY.read(run.path)
