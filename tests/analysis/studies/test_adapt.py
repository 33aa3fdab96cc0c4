"""The study of adaptation: the numbers of the functions, resumption, files, errors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.analysis import Evaluation, ModelSubject
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.adapt import STUDY, TOGETHER, recovery
from cimsim.cli import main
from cimsim.errors import CimsimError
from cimsim.nn.scoring import evaluate
from cimsim.runs import RunSubject
from cimsim.training.run import Run

FAULTS = "cell.faults=[{kind: stuck, at: g_max, rate: 0.05}]"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_a_trial_is_what_the_public_functions_give(run: Run) -> None:
    subject, parts = RunSubject(run), "gain-offset, affine:lr=0.02"
    found = recovery(
        subject, Evaluation(chips=2, age_s=3600.0), parts, budget=5, overrides=[FAULTS]
    )
    profile = cimsim.load_profile("pcm-ibm-2020", [FAULTS])
    every, batches = [], []
    for chip in range(2):
        model = run.chip_model(profile)
        cimsim.age(cimsim.program(model, seed=chip), "1h")
        done = cimsim.adapt(model, subject.training(5), parts, budget=5)
        every.append(evaluate(model, run.data.test_x, run.data.test_y).accuracy)
        batches.append(done.total["batches"])
    last = found.steps[-1]
    assert last.name == TOGETHER
    assert last.after.mean == pytest.approx(sum(every) / 2)
    assert last.batches == sum(batches) / 2 == 10
    assert last.gained.mean == pytest.approx(last.after.mean - found.before.mean)
    assert last.gained.mean > 0
    assert [step.name for step in found.steps] == ["gain-offset", "affine:lr=0.02", TOGETHER]
    assert found.steps[0].added == last.added > 0
    assert found.steps[1].added == 0 < found.steps[1].changed


def test_it_goes_on_and_is_read_again(run: Run) -> None:
    calls: list[tuple[int, int]] = []

    def more(chips: int) -> Evaluation:
        return Evaluation(chips, progress=lambda done, total, _: calls.append((done, total)))

    recovery(RunSubject(run), more(1), "gain-offset", budget=3)
    calls.clear()
    found = recovery(RunSubject(run), more(2), "gain-offset", budget=3)
    assert calls[0] == (2, 4)
    calls.clear()
    recovery(RunSubject(run), more(2), "gain-offset", budget=4)  # another recipe, the same before
    assert calls[0] == (2, 4)
    write_result(run.path, found)
    again = STUDY.read(run.path, conditions=found.conditions)
    assert again == found
    assert again.options() == found.options()
    rows = (run.path / f"{found.file}.csv").read_text().splitlines()
    assert rows[1].startswith("before,2,")
    assert len(rows) == 3
    found.figure().canvas.draw()
    assert "gain and offset of columns" in str(found)
    assert "digital numbers were added or changed" in found.answer


def test_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapt", str(run.path), "--parts", "all", "--set", FAULTS, "--budget", "3"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--chips", "1", "--samples", "50", "--wide"])
    text = capsys.readouterr().out
    for title in ("before", "fault-aware mapping", "chip in the loop", "low-rank adapters"):
        assert title in text
    assert len(list((run.path / "adapt").glob("adapt_*.png"))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "gain"], "unknown part of an adaptation 'gain'"),
        (["--parts", "fault-mapping"], "no stuck cells and no dead lines; leave it out"),
        (["--teacher", "me"], "--teacher: must be digital or labels"),
        (["--set", "adc.bit=3"], "adc.bit=3: unknown key 'bit'"),
        (["--parts", "affine:lr=1e30", "--chips", "1"], "train with a smaller learning rate"),
    ],
)
def test_errors_of_the_command(
    run: Run, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapt", str(run.path), *options]) != 0
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_model_in_memory() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), torch.rand(96, 8)
    batches = [(x, network(x).argmax(1))]
    model = cimsim.calibrate(cimsim.convert(network, "pcm-ibm-2020"), [x])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = cimsim.recovery(
        model, batches, parts="gain-offset", calibration=[x], chips=2, age="1y", budget=2
    )
    assert found.facts.chips == 2
    assert found.facts.age_s > 3e7
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(CimsimError, match="no training data to adapt its chips with"):
        cimsim.recovery(model, batches, parts="gain-offset")
    with pytest.raises(CimsimError, match="batch 0 has no labels to learn from"):
        cimsim.recovery(model, batches, parts="affine", calibration=[x], teacher="labels", chips=1)
    labeled = ModelSubject(model, batches, calibration=batches)
    found = recovery(labeled, Evaluation(chips=1), "affine", teacher="labels", budget=2)
    assert found.teacher == "labels"
    with pytest.raises(CimsimError, match=r"^teacher applies to parts that learn .* only; add"):
        cimsim.recovery(labeled, parts="ranges", teacher="labels")
    with pytest.raises(
        CimsimError, match=r"^seed applies to parts with random numbers .* leave seed out"
    ):
        cimsim.recovery(labeled, parts="affine, ranges", seed=1)


def test_labels_for_parts_of_both_kinds() -> None:
    """Each part is also applied alone, and only some of them learn."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), torch.rand(96, 8)
    data = [(x, network(x).argmax(1))]
    model = cimsim.calibrate(cimsim.convert(network, "pcm-ibm-2020"), [x])
    given: dict[str, Any] = {"calibration": data, "chips": 1, "budget": 2, "teacher": "labels"}
    found = cimsim.recovery(model, data, parts="ranges,affine", **given)
    assert [step.name for step in found.steps] == ["ranges", "affine", "all together"]
    assert found.teacher == "labels"


def test_the_command_of_a_result_leaves_out_what_had_no_effect(run: Run) -> None:
    """As results of older versions have it."""
    given: dict[str, Any] = {"teacher": "labels", "seed": 3, "budget": 1}
    for parts, kept in (
        ("ranges", set()),
        ("affine", {"teacher"}),
        ("sparse", {"teacher", "seed"}),
    ):
        found = recovery(RunSubject(run), Evaluation(chips=1), parts, **given)
        options = found.options()
        assert {name for name in ("teacher", "seed") if options.gives(name)} == kept
