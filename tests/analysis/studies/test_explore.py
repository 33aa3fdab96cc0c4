"""Designs that no other beats in accuracy and cost."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.text import Text

from cimsim.analysis.cost import cost_of, workload_of
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.shown import as_json, write_result
from cimsim.analysis.studies.designs import OBJECTIVES, DesignAxis, Space
from cimsim.analysis.studies.dominance import significantly_better
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


def by_means(found: Exploration) -> list[bool]:
    """Whether another point has a better mean for less, by comparing all with all."""
    falls, of = found.facts.measured.falls, found.objective.of
    values = [(of(p), p.score.mean if falls else -p.score.mean) for p in found.points]
    return [any(a <= c and b <= d and (a, b) != (c, d) for a, b in values) for c, d in values]


def test_a_small_space_is_evaluated_whole(run: Run) -> None:
    found = explore(space_of(run), ONE, budget=10, final_chips=2)
    assert len(found.points) == found.designs == 6
    assert all(p.score.chips == 2 for p in found.front)
    energies = [p.energy_pJ for p in found.points]
    assert energies == sorted(energies)
    assert {p.changes for p in found.points} == {
        f"adc.bits={bits} array.rows={rows}" for bits in (2, 4, 8) for rows in (32, 64)
    }


def test_the_front_is_not_beaten_and_every_other_design_says_by_which(run: Run) -> None:
    four = Evaluation(chips=4)
    space = space_of(run, axes=("adc.bits=2,4,7,8,9", "noise=0.9,12"))
    found = explore(space, four, budget=10, final_chips=4)
    (subject,) = space.subjects

    def metric(changes: str) -> list[float]:
        trials = four.sweep(subject, DesignAxis("explore", (changes,))).trials
        return [trial.scores["accuracy"] for trial in trials]

    values = {p.number: metric(p.changes) for p in found.points}
    costs = {p.number: p.energy_pJ for p in found.points}
    numbers = [p.number for p in found.front]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) < sum(not is_beaten for is_beaten in by_means(found))
    for number, after in itertools.pairwise(numbers):
        assert costs[after] > costs[number]
        assert significantly_better(values[after], values[number])
    for p in found.points:
        assert p.on_front == (p.dominated_by == 0)
        if p.dominated_by:
            assert costs[p.dominated_by] <= costs[p.number]
            assert not significantly_better(values[p.number], values[p.dominated_by])


def test_costs_and_scores_are_those_of_the_design(run: Run) -> None:
    found = explore(space_of(run, axes=["adc.bits=4,8"]), ONE, budget=2, final_chips=1, seed=3)
    assert found.options().seed == 0  # which nothing was drawn with
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
    assert [not p.on_front for p in found.points] == by_means(found)


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
    assert more.options().seed == 1
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
    stem = run.path / "explore" / "explore_adc.bits=2,4,8_array.rows=32,64"
    rows = stem.with_name(f"{stem.name}.csv").read_text().splitlines()
    assert len(rows) == 7
    assert rows[0].startswith("on_front,run,profile,changes,energy_pJ")
    one = replace(found, points=found.points[:1])
    assert all(path.stat().st_size > 5000 for path in save(one.figure(), tmp_path / "one.png"))
    stem.with_name(f"{stem.name}.json").write_text("{")
    with pytest.raises(CimsimError, match="is damaged; run `cimsim explore"):
        STUDY.read(run.path)


def test_designs_with_other_prices_have_another_front(run: Run) -> None:
    profiles = tuple(map(load_profile, ("pcm-ibm-2020", "pcm-hermes-2023")))
    space = Space((RunSubject(run),), profiles, (parse_axis("adc.bits=3,8"),))
    found = explore(space, ONE, budget=4, final_chips=1)
    known, generic = "measured or published prices", "generic prices"
    assert list(found.fronts) == [known, generic]
    for name, profile in ((known, "pcm-hermes-2023"), (generic, "pcm-ibm-2020")):
        assert {p.profile for p in found.points if p.prices == name} == {profile}
        cheapest = next(p for p in found.points if p.prices == name)
        assert cheapest.on_front  # although the other front has cheaper and better ones
    assert "their fronts are separate" in found.answer
    assert {"published", "generic"} == set(_column(found, "prices"))
    texts = [text.get_text() for text in found.figure().findobj(Text)]
    for name in (known, generic):
        assert any(name in text for text in texts)
    one = explore(space, ONE, budget=4, final_chips=1, one_front=True)
    assert list(one.fronts) == [""]
    assert [not p.on_front for p in one.points] == by_means(one)
    assert {p.prices for p in one.points} == {known, generic}  # which table and figure still show
    assert one.options().one_front
    assert one.file != found.file


def _column(found: Exploration, name: str) -> tuple[str, ...]:
    return next(column.cells for column in found.sheet().columns if column.name == name)


def test_every_point_of_the_figure_has_a_number_that_the_list_beside_it_resolves(run: Run) -> None:
    found = explore(space_of(run), ONE, budget=6, final_chips=2)
    texts = [text.get_text() for text in found.figure().findobj(Text)]
    shown = {
        int(number)
        for text in texts
        for number in text.split(", ")
        if number.isdigit() and text.replace(", ", "").isdigit()
    }
    for number, point in enumerate(found.numbered, start=1):
        assert point.number == number
        assert number in shown
        (line,) = (text for text in texts if text.startswith(f"{number}  {point.changes}: "))
        assert point.score.with_unit(found.facts.measured) in line
    cells = [_column(found, "#"), next(found.more_sheets()).columns[0].cells]
    assert [int(cell) for column in cells for cell in column] == list(range(1, 7))
    axes = found.figure().axes[0]
    assert all(text.get_visible() for text in axes.texts)  # none was left out for want of room
