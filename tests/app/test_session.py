"""The numbers of the page are those of the command line, and are computed once."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cimsim.app.session import Session
from cimsim.app.setting import Setting
from cimsim.app.shipped import digits_mlp
from cimsim.cli import main
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from cimsim.runs import open_run

START = Setting("digits-mlp", chips=2, samples=40, layer="hidden1")
CHANGED = replace(START, noise=2.5, age_s=86400.0, adc_bits="5", dac_bits="6")


@pytest.fixture(scope="module")
def session() -> Session:
    return Session([digits_mlp()])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    options = ["--epochs", "1", "--profile", "reram-wan-2022", "--device", "cpu"]
    with pytest.raises(SystemExit, match="0"):
        main(["train", *options, "--out", str(folder)])
    return folder


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A command line that the page shows, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str) -> None:
        name, *words = shlex.split(line)
        assert name == "cimsim"
        with pytest.raises(SystemExit, match="0"):
            main([*words, *more])

    return run


Scores = dict[tuple[object, int], tuple[float, float]]


def swept(file: Path) -> Scores:
    with file.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {
        (float(row["level"]), int(row["chip"])): (float(row["accuracy"]), float(row["loss"]))
        for row in rows
    }


def scores(session: Session, setting: Setting) -> Scores:
    trials = session.sweep(setting, session.levels(setting)).sweeps[0].trials
    return {(t.level, t.chip): (t.scores["accuracy"], t.scores["loss"]) for t in trials}


@pytest.mark.parametrize("setting", [START, CHANGED, replace(CHANGED, profile="reram-wan-2022")])
def test_accuracies_are_those_of_the_command(
    session: Session, setting: Setting, command: Callable[..., None]
) -> None:
    shown = scores(session, setting)
    command(session.commands(setting)[0], "--out", "all.csv")
    assert shown == swept(Path("all.csv"))
    chips = [shown[setting.noise, chip] for chip in range(2)]
    assert chips[0] != chips[1]
    mean = sum(accuracy for accuracy, _ in chips) / 2
    assert session.accuracy(setting).point.mean == pytest.approx(mean)


def test_energy_is_that_of_the_command(session: Session, command: Callable[..., None]) -> None:
    command(session.commands(CHANGED)[1])
    (file,) = Path().rglob("cost*.json")
    totals = json.loads(file.read_text(encoding="utf-8"))["totals"]
    cost = session.cost(CHANGED)
    assert totals["energy_pJ"]["total"] == cost.energy_pJ.total
    assert totals["energy_pJ"]["total"] != session.cost(START).energy_pJ.total
    assert totals["latency_ns"] == cost.latency_ns
    assert session.cost(replace(CHANGED, noise=0.0, age_s=0.0, chip=1)) is cost


def test_signals_are_those_of_the_command(session: Session, command: Callable[..., None]) -> None:
    setting = replace(START, noise=2.0, age_s=3600.0)
    command(session.commands(setting)[2])
    (file,) = Path().rglob("sensitivity*.json")
    layers = json.loads(file.read_text(encoding="utf-8"))["layers"]
    ratios = session.signals(setting).ratios_dB
    assert {layer["name"]: layer["snr_dB"] for layer in layers} == ratios
    assert tuple(ratios) == ("hidden1", "hidden2", "classifier")
    assert min(ratios.values()) < min(session.signals(START).ratios_dB.values())


def test_a_run_keeps_its_folder_as_it_was(run: Path, command: Callable[..., None]) -> None:
    before = sorted(run.rglob("*"))
    session = Session([open_run(run)])
    setting = replace(session.start(), chips=1, samples=30, adc_bits="4", noise=1.5)
    shown = scores(session, setting)
    session.cost(setting)
    session.weights(setting)
    assert sorted(run.rglob("*")) == before
    assert str(run) in session.commands(setting)[0]
    command(session.commands(setting)[0], "--out", "all.csv")
    assert shown == swept(Path("all.csv"))


def test_weights_are_those_of_the_chip(session: Session) -> None:
    near, far = session.weights(START), session.weights(replace(START, noise=3.0))
    assert 0 < near.rms < far.rms
    assert session.weights(replace(START, noise=0.0, profile="ideal")).rms < 1e-6
    assert sum(near.ideal.counts) == sum(near.on_chip.counts) == sum(near.errors.counts)
    assert session.weights(replace(START, chip=1)) != near
    assert session.weights(replace(START, chips=9, samples=None)) is near
    with pytest.raises(CimsimError, match="layer 'hiden1'; did you mean 'hidden1'"):
        session.weights(replace(START, layer="hiden1"))


def test_finished_trials_are_not_evaluated_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = replace(START, age_s=60.0)
    session.sweep(setting, [0.0, 1.0])
    assert session.finished(setting) == [0.0, 1.0]
    assert session.finished(replace(setting, noise=3.0, chip=1)) == [0.0, 1.0]
    assert session.finished(replace(setting, age_s=61.0)) == []
    monkeypatch.setattr(type(session.subject("digits-mlp")), "score", None)
    session.sweep(setting, [1.0, 0.0])
    with pytest.raises(TypeError):
        session.sweep(setting, [2.0])


def test_an_evaluation_stops_at_the_next_trial(session: Session) -> None:
    class LateError(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:  # the first reports what was finished before
            raise LateError

    setting = replace(START, chips=5, age_s=7.0)
    with pytest.raises(LateError):
        session.sweep(setting, [1.0], check)
    done = len(session.subject("digits-mlp").memory["noise"])
    session.sweep(replace(setting, chips=2), [1.0])
    assert len(session.subject("digits-mlp").memory["noise"]) == done


def test_every_profile_that_is_shipped_is_shown(session: Session) -> None:
    small = replace(START, chips=1, samples=8)
    for name in session.profiles:
        setting = replace(small, profile=name)
        bits = dict(zip(("adc", "dac"), session.bits(setting), strict=True))
        profile = load_profile(name)
        assert bits == {k: str(getattr(profile, k).bits or "ideal") for k in bits}
        assert session.accuracy(setting).point.mean > 0.2
        assert session.cost(setting).energy_pJ.total > 0
        assert name in session.commands(setting)[0]


def test_a_file_is_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "schema_version: 1\nextends: pcm-ibm-2020\nname: mine\n"
        "adc: {bits: 5, source: 'assumption: an example'}\n",
        encoding="utf-8",
    )
    session = Session([digits_mlp()], str(file))
    start = session.start()
    assert start.profile == "mine"
    assert session.bits(start) == ("5", "8")
    assert session.title(start) == "digits-mlp on mine"
    assert f"--profile {file}" in session.commands(start)[1]
    with pytest.raises(CimsimError, match=r"no-such\.yaml"):
        Session([digits_mlp()], str(tmp_path / "no-such.yaml"))


def test_a_profile_refuses_bits_with_a_sentence(session: Session) -> None:
    with pytest.raises(CimsimError, match="an ideal ADC has no range"):
        session.accuracy(replace(START, profile="generic-gaussian", adc_bits="ideal"))


def test_numbers_of_samples_and_chips_fit_the_time(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(of_sample: float) -> Setting:
        def measured(self: Session, setting: Setting, samples: int | None, **_: int) -> float:
            return of_sample * (samples or 360)

        monkeypatch.setattr(Session, "_seconds_of_chip", measured)
        return Session([digits_mlp()]).suggested(replace(START, chips=5))

    assert (seconds(1e-5).samples, seconds(1e-5).chips) == (None, 5)
    assert (seconds(1e-3).samples, seconds(1e-3).chips) == (200, 5)
    assert (seconds(1e-2).samples, seconds(1e-2).chips) == (50, 2)
    assert (seconds(1.0).samples, seconds(1.0).chips) == (50, 1)


def test_networks_of_one_name_are_told_apart() -> None:
    first, second = digits_mlp(), digits_mlp()
    second.argument = "elsewhere"
    assert list(Session([first, second]).subjects) == ["digits-mlp", "elsewhere"]
