"""Studies of any model with a function that scores it."""

from __future__ import annotations

import copy
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis import (
    Evaluation,
    ModelSubject,
    Space,
    advise,
    attribute,
    budget,
    chip_yield,
    explore,
    life,
    metric_map,
    sensitivity,
    sweep,
    tolerance,
    waterfall,
)
from cimsim.analysis.report import report
from cimsim.analysis.shown import write_result
from cimsim.analysis.study import Result
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder, trials_csv
from cimsim.errors import CimsimError, CimsimWarning

X = torch.randn(300, 16, generator=torch.Generator().manual_seed(3))
NOISE = parse_axis("noise=0,4")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).requires_grad_(False)
    return cimsim.calibrate(cimsim.convert(net, "pcm-ibm-2020"), [X[200:]])


@pytest.fixture(scope="module")
def target(model: nn.Module) -> Tensor:
    return cimsim.to_digital(model).eval()(X[:200])  # type: ignore[no-any-return]


@pytest.fixture
def subject(model: nn.Module, target: Tensor) -> ModelSubject:
    """Scored by a number of its own, of which less is better: its root mean square error."""

    def score(on_chip: nn.Module) -> dict[str, float]:
        return {"rmse": float((on_chip(X[:200]) - target).square().mean().sqrt())}

    return ModelSubject(model, score, metric="rmse:min", inputs=X[:64], calibration=[X[200:]])


def test_a_sweep_scores_each_chip_with_the_function(
    model: nn.Module, subject: ModelSubject, target: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (swept,) = sweep([subject], NOISE, Evaluation(2))
    copy = subject.model()
    cimsim.nn.set_profile(copy, cimsim.load_profile("pcm-ibm-2020").scale_noise(4.0))
    cimsim.program(copy, 1)
    expected = float((copy(X[:200]) - target).square().mean().sqrt())
    assert swept.values()[4.0][1] == pytest.approx(expected)
    assert swept.plan.digital == pytest.approx(0.0, abs=1e-6)
    assert swept.plan.measured.falls
    assert swept.plan.measured.title == "Rmse"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "level,chip,rmse,digital_rmse" in trials_csv([swept])


def test_trials_are_kept_in_memory(subject: ModelSubject) -> None:
    calls: list[tuple[int, int]] = []
    evaluation = Evaluation(2, progress=lambda done, total, _: calls.append((done, total)))
    (first,) = sweep([subject], NOISE, evaluation)
    calls.clear()
    (second,) = sweep([subject], NOISE, evaluation)
    assert calls == [(4, 4)]
    assert first == second


def test_every_study_runs_on_it(subject: ModelSubject) -> None:
    one, two = Evaluation(1), Evaluation(2, noise=2.0)
    results: list[Result] = [
        budget(subject, one),
        waterfall(subject, one),
        attribute(subject, one, orders=2),
        life(subject, one, 1.0, 3e7, 2),
        chip_yield(subject, Evaluation(4), below=0.3),
        metric_map(subject, NOISE, parse_axis("adc.bits=ideal,4"), one),
        tolerance(subject, "adc.bits", 10.0, one, "2", "8"),
        sensitivity(subject, two),
        advise(subject, two, within=0.05, bits=0),
        explore(
            Space((subject,), (None,), (parse_axis("adc.bits=4,8"),)),
            one,
            budget=2,
            final_chips=1,
        ),
    ]
    for result in results:
        assert result.sheet().rows
        assert len(list(result.rows())) > 1
        assert result.figure().axes
    lives, senses = results[3], results[7]
    assert "ranges measured again" in lives.sheet().headings
    assert {layer.name for layer in senses.layers} == {"0", "2"}  # type: ignore[attr-defined]
    assert all(math.isfinite(layer.snr_dB) for layer in senses.layers)  # type: ignore[attr-defined]


def test_an_own_chip_is_not_evaluated_as_a_simulated_one(model: nn.Module) -> None:
    own = copy.deepcopy(model)
    weights = cimsim.nn.matrices(own)
    cimsim.nn.use_chip(own, lambda layer, x: x @ weights[layer].T)
    with pytest.raises(CimsimError, match="multiplies with your own chip, on which profiles"):
        cimsim.sweep(own, lambda m: float(m(X[:10]).mean()), over="noise=0:2:1", chips=2)
    cimsim.nn.use_chip(own, None)
    assert cimsim.sweep(own, lambda m: float(m(X[:10]).mean()), over="noise=0,1", chips=1)


@pytest.mark.parametrize("part", ["low-rank", "sparse", "rewrite", "fault-mapping"])
def test_a_model_that_was_adapted_to_one_chip_is_evaluated_with_a_warning(
    model: nn.Module, part: str
) -> None:
    adapted = copy.deepcopy(model).eval()
    faults = ["cell.faults=[{kind: stuck, at: g_max, rate: 0.05}]"]
    cimsim.nn.set_profile(adapted, cimsim.load_profile("pcm-ibm-2020", faults))
    cimsim.adapt(cimsim.program(adapted, seed=7), [X[:64]], part, budget=2)
    with pytest.warns(CimsimWarning, match="was adapted to one chip, .* call cimsim.recovery"):
        cimsim.sweep(adapted, lambda m: float(m(X[:10]).mean()), over="noise=0,1", chips=1)


def test_a_number_alone_is_a_score_of_which_more_is_better(model: nn.Module) -> None:
    subject = ModelSubject(model, lambda on_chip: float(on_chip(X[:10]).mean()))
    (swept,) = sweep([subject], NOISE, Evaluation(1))
    assert (swept.plan.metric, swept.plan.measured.falls) == ("score:max", False)


def test_batches_give_accuracy_and_loss(model: nn.Module, target: Tensor) -> None:
    pairs = list(zip(X[:200].split(50), target.argmax(-1).split(50), strict=True))
    subject = ModelSubject(model, pairs)
    (swept,) = sweep([subject], NOISE, Evaluation(1, samples=70))
    assert set(swept.trials[0].scores) == {"accuracy", "loss"}
    assert (swept.plan.digital, swept.plan.samples) == (1.0, 70)
    assert swept.trials[1].scores["accuracy"] * 70 == pytest.approx(
        round(swept.trials[1].scores["accuracy"] * 70)
    )


def test_results_are_kept_in_a_folder_and_reported(
    model: nn.Module, target: Tensor, tmp_path: Path
) -> None:
    def subject(data: str = "200 random vectors") -> ModelSubject:
        return ModelSubject(
            model, lambda m: {"mse": float((m(X[:200]) - target).square().mean())},
            metric="mse:min", folder=tmp_path / "mine", data=data, name="mine",
            calibration=[X[200:]],
        )  # fmt: skip

    calls: list[int] = []
    evaluation = Evaluation(2, progress=lambda done, total, _: calls.append(done))
    (first,) = sweep([subject()], NOISE, evaluation)
    assert calls == [0, 1, 2, 3, 4]
    calls.clear()
    assert sweep([subject()], NOISE, evaluation)[0] == first
    assert calls == [4]
    calls.clear()
    sweep([subject("others")], NOISE, evaluation)
    assert calls == [0, 1, 2, 3, 4]
    sweep([subject()], NOISE, evaluation)
    assert read_sweep(sweep_folder(tmp_path / "mine", "noise")) == first
    write_result(tmp_path / "mine", budget(subject(), Evaluation(1)))
    page = report([subject()])
    assert "Error budget" in page
    assert "Mse over noise" in page
    assert "cannot be shown" not in page


def test_what_cannot_be_is_refused_in_one_sentence(
    model: nn.Module, subject: ModelSubject, tmp_path: Path
) -> None:
    for message, act in (
        ("pass data='…'", lambda: ModelSubject(model, lambda m: 1.0, folder=tmp_path)),
        ("has no analog layers", lambda: ModelSubject(nn.Linear(2, 2), lambda m: 1.0)),
        ("must return a number", lambda: ModelSubject(model, lambda m: None).digital_scores()),  # type: ignore[arg-type,return-value]
        ("has no test inputs", lambda: ModelSubject(model, lambda m: 1.0).inputs(3)),
        ("leave samples out", lambda: sweep([subject], NOISE, Evaluation(1, samples=3))),
        ("unknown metric 'rsme'", lambda: sweep([subject], NOISE, Evaluation(1, metric="rsme"))),
        (
            "needs the score 'loss'",
            lambda: sweep([subject], NOISE, Evaluation(1, metric="perplexity")),
        ),
        ("keeps its results in memory", lambda: report([subject])),
        ("leave the other noise out", lambda: sweep([subject], NOISE, Evaluation(1, noise=2.0))),
    ):
        with pytest.raises(CimsimError, match=message):
            act()


def test_a_model_that_cannot_be_copied() -> None:
    model: Any = cimsim.convert(nn.Linear(16, 4), "ideal")
    model.lock = threading.Lock()
    with pytest.raises(CimsimError, match=r"cannot be copied .*; each trial uses a copy"):
        cimsim.sweep(model, lambda chip: 1.0, over="noise=0:1:1", chips=1)


def test_a_model_that_keeps_its_output() -> None:
    """torch cannot copy a tensor that is part of a graph."""
    model: Any = cimsim.convert(nn.Linear(16, 4), "ideal")
    model.last = kept = model(X[:3])
    cimsim.sweep(nn.Sequential(model), lambda chip: 1.0, over="noise=0:1:1", chips=1)
    assert model.last is kept
