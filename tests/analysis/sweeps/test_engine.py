"""Several processes and several parts: the same numbers, and nothing lost when one dies."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.adaptation.recipe import Recipe
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps import engine
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.engine import Evaluator, ProcessEngine, Task
from cimsim.analysis.sweeps.metric import Scores
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder
from cimsim.errors import CimsimError
from cimsim.nn import Assignment
from cimsim.profile import load_profile, profile_names
from cimsim.runs import RunSubject
from cimsim.training.run import Run
from tests.forks import forking
from tests.subjects import sweep

AXIS = parse_axis("noise=0,2,4")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def expected(trained: Path, tmp_path: Path) -> tuple[object, ...]:
    alone = Run.open(shutil.copytree(trained, tmp_path / "alone"))
    (swept,) = sweep([alone], AXIS, 2)
    return tuple((cell.level, cell.chip, *cell.scores.values()) for cell in swept.trials)


def test_two_workers_give_the_numbers_of_one(run: Run, expected: tuple[object, ...]) -> None:
    seen: list[tuple[int, int]] = []
    (swept,) = sweep(
        [run], AXIS, 2, engine=ProcessEngine(2), progress=lambda d, t, _: seen.append((d, t))
    )
    assert tuple((c.level, c.chip, *c.scores.values()) for c in swept.trials) == expected
    assert seen == [(done, 6) for done in range(7)]


def test_workers_wait_for_the_next_sweep_also_of_another_run(
    run: Run,
    trained: Path,
    tmp_path: Path,
    expected: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "get_context", lambda _: forking())
    other, workers = Run.open(shutil.copytree(trained, tmp_path / "other")), ProcessEngine(1)
    sweep([run], parse_axis("noise=0"), 1, engine=workers)
    (first,) = _processes(workers)
    (swept,) = sweep([other], AXIS, 2, engine=workers)
    assert _processes(workers) == [first]
    assert tuple((c.level, c.chip, *c.scores.values()) for c in swept.trials) == expected


def test_parts_add_up_whatever_their_order(run: Run, expected: tuple[object, ...]) -> None:
    for part in (3, 1):
        (swept,) = sweep([run], AXIS, 2, shard=(part, 3))
    assert swept.missing == 2
    (swept,) = sweep([run], AXIS, 2, shard=(2, 3))
    assert swept.missing == 0
    assert tuple((c.level, c.chip, *c.scores.values()) for c in swept.trials) == expected
    folder = sweep_folder(run.path, "noise")
    assert {path.name for path in folder.glob("*.jsonl")} == {
        f"results-{part}-of-3.jsonl" for part in (1, 2, 3)
    }
    told: list[tuple[int, int]] = []
    sweep([run], AXIS, 2, progress=lambda done, total, _: told.append((done, total)))
    assert told == [(6, 6)]  # nothing was left to do
    assert read_sweep(folder).missing == 0


@pytest.mark.parametrize("shard", [(0, 2), (3, 2)])
def test_a_part_that_there_is_not_is_refused(run: Run, shard: tuple[int, int]) -> None:
    with pytest.raises(CimsimError, match="there is no part"):
        sweep([run], AXIS, 1, shard=shard)


def test_a_killed_worker_costs_only_what_it_was_doing(
    run: Run, expected: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, killed = ProcessEngine._some, []

    def some(
        self: ProcessEngine, subjects: list[Subject], left: dict[int, Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        for found in real(self, subjects, left, device):
            yield found
            if not killed:  # after the first cell
                killed.append(True)
                for child in _processes(self):
                    os.kill(child, signal.SIGKILL)

    monkeypatch.setattr(engine, "get_context", lambda _: forking())
    monkeypatch.setattr(ProcessEngine, "_some", some)
    (swept,) = sweep([run], AXIS, 2, engine=ProcessEngine(2))
    assert killed
    assert tuple((c.level, c.chip, *c.scores.values()) for c in swept.trials) == expected
    lines = (sweep_folder(run.path, "noise") / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 6


def _processes(workers: ProcessEngine) -> list[int]:
    assert workers._pool is not None
    return list(workers._pool._processes)


def test_workers_that_die_again_and_again_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "get_context", lambda _: forking())
    monkeypatch.setattr(engine, "scores_at", _die)
    with pytest.raises(CimsimError, match=r"died 3 times without a result; .* fewer --workers"):
        sweep([run], AXIS, 1, engine=ProcessEngine(2))


def _die(*_: object) -> Scores:
    os._exit(9)


def test_a_task_can_be_sent_and_looked_up() -> None:
    pcm, other = load_profile("pcm-ibm-2020"), load_profile("mismatch")
    tasks = [
        Task(0, Assignment(pcm, (("a", device), ("b", None))), 1, 60.0) for device in (other, pcm)
    ]
    sent = pickle.loads(pickle.dumps(tasks))
    assert sent == tasks
    assert {tasks[1]: "found"}[sent[1]] == "found"
    assert hash(tasks[0]) != hash(tasks[1])


def test_an_evaluator_keeps_its_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    real = Run.chip_model

    def counted(self: Run, *arguments: object) -> object:
        built.append(1)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "chip_model", counted)
    evaluator = Evaluator([RunSubject(run)], "cpu")
    assignments = [Assignment(profile) for profile in (run.profile, run.profile.scale_noise(2.0))]
    scores = [evaluator.scores(Task(0, on, chip, 0.0)) for on in assignments for chip in (0, 1)]
    assert len(built) == 2
    assert len({tuple(each.values()) for each in scores}) > 1
    assert evaluator.scores(Task(0, assignments[0], 0, 0.0)) == scores[0]


class Counted(RunSubject):
    """A run that counts its evaluations."""

    evaluations = 0

    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """Score, and count."""
        self.evaluations += 1
        return super().score(model, samples)


class Random(Counted):
    """A run whose score is a sample."""

    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """Score, and add a random number."""
        return {**super().score(model, samples), "loss": float(torch.rand(()))}


class Unknown(Counted):
    """A subject of which nothing is known."""

    repeats = False


def test_two_chips_without_noise_stand_for_all(run: Run) -> None:
    quiet, noisy = Assignment(run.profile.scale_noise(0.0)), Assignment(run.profile)
    assert not quiet.has_noise
    assert noisy.has_noise
    mixed = Assignment(quiet.profile, (("classifier", noisy.profile),))
    for kind, on, evaluations in (
        (Counted, quiet, 2),
        (Counted, noisy, 5),
        (Counted, mixed, 5),
        (Random, quiet, 5),
        (Unknown, quiet, 5),
    ):
        subject = kind(run)
        evaluator = Evaluator([subject], "cpu")
        each = [evaluator.scores(Task(0, on, chip, 0.0, name=str(chip))) for chip in range(5)]
        assert subject.evaluations == evaluations
        assert (each[0] == each[1] == each[4]) == (on is quiet and kind is not Random)
        each[-1]["accuracy"] = -1.0  # does not change what is kept
        assert evaluator.scores(Task(0, on, 4, 0.0))["accuracy"] >= 0.0


def test_scores_of_any_chip_are_those_of_one_age_and_cycle(run: Run) -> None:
    subject, quiet = Counted(run), Assignment(run.profile.scale_noise(0.0))
    evaluator = Evaluator([subject], "cpu")
    for age_s in (0.0, 9.0):
        for cycle in (0, 5):
            for chip in range(4):
                evaluator.scores(Task(0, quiet, chip, age_s, cycle=cycle))
    assert subject.evaluations == 2 * 4
    tuned = Recipe(parts=("norms",), budget=1)
    assert Task(0, quiet, 0, 0.0, adaptation=tuned).of_any_chip is None


@pytest.mark.parametrize("name", ["pcm-ibm-2020", "reram-cmo-2025"])
def test_the_random_inputs_that_measure_drift_make_chips_differ(name: str) -> None:
    settings = {"array.drift_compensation": "global", "array.drift_probe": "measured"}
    profile = load_profile(name, settings).scale_noise(0.0)
    assert profile.has_noise
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    model = cimsim.calibrate(cimsim.convert(nn.Linear(6, 8), profile), [x]).eval()
    outputs = []
    for chip in (1, 2):
        cimsim.age(cimsim.program(model, chip), 1e6)
        outputs.append(model(x))
    assert not torch.equal(*outputs)


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("age_s", [0.0, 1e6])
def test_without_noise_chips_and_reads_are_the_same(name: str, age_s: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 6)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    profile = load_profile(name).scale_noise(0.0)
    assert not profile.has_noise
    model = cimsim.calibrate(cimsim.convert(net, profile), [x]).eval()
    outputs = []
    for chip in (1, 1, 2):
        cimsim.program(model, chip)
        cimsim.age(model, age_s)
        outputs += [model(x), model(x)]
    assert all(torch.equal(y, outputs[0]) for y in outputs)
