"""The search for the noise of a training: what it chooses on, and what interrupts it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cimsim
from cimsim.analysis.sweeps import engine
from cimsim.analysis.sweeps.metric import ACCURACY, METRICS
from cimsim.errors import CimsimError
from cimsim.runs import noise_search, search, train
from cimsim.runs.noise_search import Rounds, candidate_config, check, rounds_of
from cimsim.runs.noise_search_result import Scored, SearchResult, best_of, choose, read_search
from cimsim.sealing import sealed
from cimsim.training import plan as plan_module
from cimsim.training import run as run_module
from cimsim.training.candidates import CANDIDATES, USUAL
from cimsim.training.config import TrainConfig, make_config, read_config
from cimsim.training.data import load_data
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.children import all_ended
from tests.replaced import Replaced
from tests.training.processes import start

FEW = {name: CANDIDATES[name] for name in ("digital", "noise-1", "noise-2")}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates and two chips."""
    monkeypatch.setattr(noise_search, "CANDIDATES", FEW)
    monkeypatch.setattr(noise_search, "CHIPS", 2)


def auto(**settings: Any) -> TrainConfig:
    usual = {
        "profile": "pcm-ibm-2020",
        "noise": "auto",
        "epochs": 3,
        "search_epochs": 2,
        "limit": 600,
        "batch_size": 200,
        "lr": 0.005,
        "seed": 5,
    }
    return make_config(**{**usual, **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise_search, "CANDIDATES", FEW)
        patch.setattr(noise_search, "CHIPS", 2)
        return train(auto(), tmp_path_factory.mktemp("searched") / "run")


def test_the_run_has_the_chosen_settings_and_says_where_they_are_from(finished: Run) -> None:
    result = read_search(finished.path / "search")
    for name, value in FEW[result.chosen].items():
        assert getattr(finished.config, name) == value
    assert finished.config.chosen == f"{result.chosen}, from 3 candidates for 1"
    assert not finished.config.searches
    assert finished.config.hold_out == 0  # the final training uses all samples
    assert [(one.candidate, one.round, one.epochs) for one in result.trainings[:3]] == [
        (name, 1, 1) for name in FEW
    ]
    assert [one.epochs for one in result.trainings[3:]] == [2, 2]
    assert read_config(finished.path / "search" / "config.yaml") == auto()


def test_without_the_search_it_is_the_same_run(finished: Run, tmp_path: Path) -> None:
    settings = finished.config.model_copy(update={"chosen": None})
    again = fit(settings, tmp_path / "again")
    assert (again.path / "model.safetensors").read_bytes() == (
        finished.path / "model.safetensors"
    ).read_bytes()


def test_the_table_marks_the_chosen_candidate(finished: Run) -> None:
    result = read_search(finished.path / "search")
    sheet = result.sheet()
    assert sheet.caption == (
        "Held-out accuracy in % for 1, 2 chips, 60 samples; ± is the standard error over chips"
    )
    assert [row[0] for row in sheet.rows if row[-1] == "chosen"] == [result.chosen]
    rows = list(result.rows())
    assert len(rows) == 1 + len(result.trainings)
    assert all(len(row) == len(rows[0]) for row in rows)
    csv = (finished.path / "search" / "search.csv").read_text()
    assert csv.splitlines()[0] == (
        "candidate,round,epochs,accuracy,standard_error,lost,lost_standard_error,seconds,chosen,"
        "method,noise,gaussian_sigma,clip_sigma"
    )


class Stop(Exception):
    """What ends a search from outside."""


def test_killed_and_resumed_it_repeats_nothing_and_ends_with_the_same_weights(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, trained = noise_search.fit, []

    def killed(config: TrainConfig, out: Path, **given: Any) -> Run:
        if len(trained) == 4:
            raise Stop
        trained.append(out.name)
        return real(config, out, **given)

    with monkeypatch.context() as patch:
        patch.setattr(noise_search, "fit", killed)
        with pytest.raises(Stop):
            train(auto(), tmp_path / "run")
    with pytest.raises(CimsimError, match="already contains a search; add --resume"):
        train(auto(), tmp_path / "run")
    steps: list[str] = []
    monkeypatch.setattr(noise_search, "fit", _counting(real, steps))
    resumed = train(auto(), tmp_path / "run", resume=True)
    second = [one.candidate for one in read_search(finished.path / "search").trainings[3:]]
    assert steps == [second[1], "run"]
    assert (resumed.path / "model.safetensors").read_bytes() == (
        finished.path / "model.safetensors"
    ).read_bytes()
    before = read_search(finished.path / "search")
    after = read_search(resumed.path / "search")
    assert [one.values for one in after.trainings] == [one.values for one in before.trainings]


def _counting(real: Any, steps: list[str]) -> Any:
    def fitting(config: TrainConfig, out: Path, **given: Any) -> Run:
        if not (out / "result.json").is_file():
            steps.append(out.name)
        return real(config, out, **given)  # type: ignore[no-any-return]

    return fitting


def test_a_finished_one_is_read(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_search, "_check_candidates", None)  # would be called
    again = train(auto(), finished.path, resume=True)
    assert again.config == finished.config


def test_a_choice_uses_neither_test_samples_nor_chips_of_reports(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips: set[int] = set()

    def program(model: Any, seed: int = 0, **given: Any) -> Any:
        chips.add(seed)
        return cimsim.program(model, seed, **given)

    def poisoned(*args: Any, **given: Any) -> Any:
        data = load_data(*args, **given)
        return replace(data, test_x=torch.full_like(data.test_x, float("nan")))

    monkeypatch.setattr(engine, "cimsim", Replaced(cimsim, program=program))
    for module in (plan_module, run_module):
        monkeypatch.setattr(module, "load_data", poisoned)
    result = search(auto(), tmp_path / "run")
    before = read_search(finished.path / "search")
    assert [one.values for one in result.trainings] == [one.values for one in before.trainings]
    assert result.chosen == before.chosen
    assert chips
    assert not chips & set(range(10_000))


@pytest.mark.long
def test_two_processes_search_and_train_together(tmp_path: Path) -> None:
    with start(2, train, auto(epochs=1, search_epochs=1), tmp_path / "run") as pair:
        errors = all_ended(pair)
    assert (tmp_path / "run" / "result.json").is_file(), errors
    result = read_search(tmp_path / "run" / "search")
    assert Run.open(tmp_path / "run").config.chosen == (
        f"{result.chosen}, from {len(result.trainings)} candidates for 1"
    )


def test_the_cost_is_stated_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(noise_search, "fit", lambda *given, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search(auto(optimize_for="0:2@1s,1d"), tmp_path / "run", note=notes.append)
    assert notes == [
        "a search trains 3 candidates for 1 epoch, then the best 2 for 2: 7 epochs, 2.3 times "
        "those of the final training; scores are means over 5 noise levels, 2 ages and 2 chips, "
        "on 60 held-out samples"
    ]


def test_the_rounds_are_bounded() -> None:
    def cost(**settings: Any) -> Rounds:
        return rounds_of(auto(**settings))

    assert cost(epochs=1, search_epochs=None).epochs == 3  # one round
    assert (cost(epochs=30, search_epochs=None).short, cost(epochs=30).long) == (5, 2)
    assert cost(epochs=30, search_epochs=4) == Rounds(3, 2, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "digital"}, "chooses method, noise, .* but method digital is set"),
        (
            {"clip_sigma": 3, "gaussian_sigma": 0.1},
            "gaussian_sigma 0.1 and clip_sigma 3.0 are set",
        ),
        ({"limit": 300}, "30 of the training samples .* a choice needs at least 50"),
        ({"optimizer": "ternary-chain"}, "candidate 'digital' of the search: optimizer"),
        ({"data": "digit"}, "did you mean 'digits'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CimsimError, match=message):
        train(auto(**settings), tmp_path / "run")
    with pytest.raises(CimsimError, match=message):
        check(auto(**settings))
    assert list(tmp_path.iterdir()) == []


def test_conditions_without_a_search_are_refused() -> None:
    for name, value in (("optimize_for", "1"), ("search_epochs", 2)):
        with pytest.raises(CimsimError, match=f"{name} applies to noise 'auto' only"):
            make_config(profile="ideal", **{name: value})
    with pytest.raises(CimsimError, match="a search needs noise 'auto', not 1"):
        search(make_config(profile="ideal"), Path("nowhere"))
    for noise in ("Auto", "", "2 dB"):
        with pytest.raises(
            CimsimError, match=rf"noise: must be a number or 'auto' \(got '{noise}'"
        ):
            make_config(profile="ideal", noise=noise)
    with pytest.raises(CimsimError, match=r"choose it with cimsim\.runs\.search"):
        fit(auto(), Path("nowhere"))


def test_other_folders_are_refused(finished: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    fit(make_config(profile="ideal", epochs=1, limit=100), plain)
    with pytest.raises(CimsimError, match="a run whose noise was not chosen by a search"):
        train(auto(), plain, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(CimsimError, match="exists and is not a run"):
        train(auto(), tmp_path / "full")
    with pytest.raises(CimsimError, match="with other settings: optimize_for was 1"):
        train(auto(optimize_for="2"), finished.path, resume=True)


def test_a_damaged_result_is_named(finished: Run, tmp_path: Path) -> None:
    text = (finished.path / "search" / "search.json").read_text()
    (tmp_path / "search.json").write_text(text.replace('"chosen"', '"chosne"'))
    with pytest.raises(CimsimError, match="is damaged; delete it and run the same `cimsim train`"):
        read_search(tmp_path)
    fields = json.loads(text)
    fields["trainings"][0]["settings"]["model"] = "os:system"
    unsigned = {name: value for name, value in fields.items() if name != "sha256"}
    (tmp_path / "search.json").write_text(json.dumps(sealed(unsigned)))
    with pytest.raises(CimsimError, match="is damaged"):
        read_search(tmp_path)


def one(name: str, *values: float) -> Scored:
    return Scored(name, dict(USUAL), 1, 1, values, 0.0)


def test_the_first_of_two_equals_is_chosen() -> None:
    """Chip by chip: the same difference is within the error only if it varies between chips."""
    noisy = [one("first", 0.90, 0.94), one("best", 0.93, 0.93)]
    assert choose(noisy, ACCURACY).candidate == "first"
    clear = [one("first", 0.90, 0.94), one("best", 0.91, 0.95)]
    assert choose(clear, ACCURACY).candidate == "best"
    assert choose([one("a", 3.0, 3.0), one("b", 2.0, 2.0)], METRICS["rmse"]).candidate == "b"


@pytest.mark.parametrize("samples", [50, 60, 144, 540])
def test_exactly_one_standard_error_is_within_it(samples: int) -> None:
    """If only one chip differs, the mean difference equals its standard error, but for rounding."""
    for right in range(samples // 2, samples):
        values = [right / samples] * 4
        first = one("first", *values, (right - 3) / samples)
        assert choose([first, one("best", *values, right / samples)], ACCURACY).candidate == "first"


def test_diverged_candidates_are_not_chosen() -> None:
    nan, inf = float("nan"), float("inf")
    trainings = [one("nan", nan, 0.99), one("inf", inf, 2.0), one("finite", 3.0, 3.1)]
    assert choose(trainings, METRICS["perplexity"]).candidate == "finite"
    with pytest.raises(CimsimError, match="no candidate of the search has a finite score"):
        choose(trainings[:1], ACCURACY)
    kept = best_of(trainings, 2, METRICS["perplexity"])
    assert "finite" in [each.candidate for each in kept]


def test_every_candidate_is_complete_and_valid() -> None:
    assert next(iter(CANDIDATES.values())) == USUAL
    for name, settings in CANDIDATES.items():
        assert settings.keys() == USUAL.keys(), name
        make_config(profile="pcm-ibm-2020", **settings)


def test_candidates_without_converters_learn_no_ranges() -> None:
    config = auto(learn_ranges=("dac",))
    check(config)
    assert candidate_config(config, "digital", 1).learn_ranges is None
    assert candidate_config(config, "noise-1", 1).learn_ranges == ("dac",)
    one = Scored("digital", CANDIDATES["digital"], 1, 1, (0.9,), 1.0)
    result = SearchResult("1", "accuracy", None, 60, (one,), "digital")
    assert result.config_for(config).learn_ranges is None
