from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cimsim.runs import noise_search
from cimsim.training.candidates import CANDIDATES
from cimsim.training.config import WITHOUT_OPTION, TrainConfig
from cimsim.training.run import Run
from cimsim.training.trainer import Trainer
from tests.children import ended, wait_until
from tests.cli.conftest import Forks

Command = Callable[..., tuple[int, str, str]]
DIGITAL = ("train", "--method", "digital", "--profile", "pcm-ibm-2020", "--device", "cpu")


def test_a_run_is_made_and_summed_up(cimsim: Command, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    code, told, err = cimsim(
        *DIGITAL, "--epochs", 2, "--set", "adc.bits=6", "--set", "dac.bits=7", "--out", out
    )
    assert code == 0
    assert re.fullmatch(
        rf"{out}: test accuracy \d+\.\d\d % digital, \d+\.\d\d % on one chip of pcm-ibm-2020\n",
        told,
    )
    assert err.startswith("epoch 1/2: loss ")
    run = Run.open(out)
    assert (run.config.method, run.config.epochs, run.config.seed) == ("digital", 2, 0)
    assert (run.profile.adc.bits, run.profile.dac.bits) == (6, 7)


def test_every_setting_is_an_option_with_its_own_words(cimsim: Command) -> None:
    out = " ".join(re.sub("[│╭╰─╮╯]", " ", cimsim("train", "--help")[1]).split())
    for name, field in TrainConfig.model_fields.items():
        if name in WITHOUT_OPTION:
            continue
        flag = "--set" if name == "overrides" else "--" + name.replace("_", "-")
        assert flag in out
        assert str(field.description).split(",")[0].split("(")[0].strip()[:30] in out


def test_a_finished_run_is_resumed_without_repeating_its_settings(
    cimsim: Command, tmp_path: Path
) -> None:
    cimsim(*DIGITAL, "--epochs", 1, "--seed", 3, "--out", tmp_path / "a")
    code, _, err = cimsim("train", "--resume", "--out", tmp_path / "a")
    assert code == 0
    assert "already finished" in err


def test_noise_auto_prints_its_table_and_resumes_without_repeating_its_settings(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: CANDIDATES[name] for name in ("digital", "gaussian-1")}
    monkeypatch.setattr(noise_search, "CANDIDATES", few)
    monkeypatch.setattr(noise_search, "CHIPS", 2)
    settings = ("--profile", "pcm-ibm-2020", "--noise", "auto", "--epochs", 1, "--limit", 600)
    real = noise_search.fit

    def killed(config: TrainConfig, out: Path, **given: Any) -> Run:
        if out.name == "gaussian-1":
            raise KeyboardInterrupt
        return real(config, out, **given)

    with monkeypatch.context() as patch:
        patch.setattr(noise_search, "fit", killed)
        code, _, err = cimsim("train", *settings, "--out", tmp_path / "a")
    assert code == 130
    assert "cimsim: note: a search trains 2 candidates for 1 epoch: 2 epochs, 2.0 times" in err
    code, told, _ = cimsim("train", "--resume", "--out", tmp_path / "a")
    assert code == 0
    assert "Held-out accuracy in % for 1, 2 chips, 60 samples" in told
    assert "chosen" in told
    for more in ((), settings):
        code, _, err = cimsim("train", *more, "--resume", "--out", tmp_path / "a")
        assert (code, "already finished" in err) == (0, True)
    code, _, err = cimsim("train", *settings, "--out", tmp_path / "a")
    assert "already contains a search; add --resume" in err


@pytest.mark.parametrize("candidate", ["digital", "gaussian-1"])
def test_what_a_search_chooses_is_not_said_to_have_no_effect(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candidate: str
) -> None:
    monkeypatch.setattr(noise_search, "CANDIDATES", {candidate: CANDIDATES[candidate]})
    monkeypatch.setattr(noise_search, "CHIPS", 1)
    settings = ("--profile", "pcm-ibm-2020", "--noise", "auto", "--epochs", 1, "--limit", 600)
    code, _, err = cimsim("train", *settings, "--out", tmp_path / "a")
    assert code == 0, err
    assert "without effect" not in err
    more = ("--noise-spread", 0.5, "--clip-sigma", 2.5)
    code, _, err = cimsim("train", *settings, *more, "--out", tmp_path / "b")
    assert code == 0, err
    assert ("without effect on this training: noise_spread, which" in err) == (
        candidate == "digital"
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--out", "a"], "add --profile"),
        (["--profile", "pcm-ibm-2002", "--out", "a"], "did you mean 'pcm-ibm-2020'?"),
        (["--profile", "ideal", "--out", "a", "--epochs", "0"], "epochs"),
        (["--profile", "ideal", "--out", "a", "--data", "digit"], "did you mean 'digits'?"),
        (["--profile", "ideal", "--out", "a", "--model", "mpl"], "mlp"),
        (["--profile", "ideal", "--out", "a", "--method", "digtal"], "did you mean 'digital'?"),
        (["--profile", "ideal", "--out", "a", "--set", "adc.bit=4"], "did you mean 'bits'?"),
        (["--profile", "ideal", "--out", "a", "--device", "gpu"], "choose cpu, cuda"),
        (["--profile", "ideal", "--out", "a", "--device", "meta"], "choose cpu, cuda"),
        (["--profile", "ideal", "--out", "a", "--data", "mnist"], "--data-dir"),
        (["--profile", "ideal", "--out", "a", "--age", "1 fortnight"], "not a duration"),
        (["--profile", "ideal", "--out", "."], "exists and is not a run"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    cimsim: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIMSIM_DATA", str(tmp_path))
    (tmp_path / "something").write_text("")
    code, out, err = cimsim("train", *args)
    assert (code, out) == (2, "")
    assert err.startswith("cimsim: error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_a_second_run_does_not_overwrite_the_first(cimsim: Command, tmp_path: Path) -> None:
    cimsim(*DIGITAL, "--epochs", 1, "--out", tmp_path / "a")
    code, _, err = cimsim(*DIGITAL, "--epochs", 1, "--out", tmp_path / "a")
    assert code == 2
    assert "--resume" in err


def test_ctrl_c_says_how_to_go_on(fork: Forks, tmp_path: Path) -> None:
    metrics = tmp_path / "a" / "metrics.jsonl"
    with fork(*DIGITAL, "--epochs", 400, "--out", "a", cwd=tmp_path) as process:
        wait_until(lambda: metrics.is_file() and metrics.stat().st_size, "the first epoch")
        process.send_signal(signal.SIGINT)
        _, err = ended(process)
    assert process.returncode == 130
    assert "interrupted; add --resume" in err
    assert "Traceback" not in err


def test_ctrl_c_in_a_step_says_that_the_program_stops_after_it(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    real = Trainer._train_step

    def step(self: Trainer, *batch: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        real(self, *batch)

    monkeypatch.setattr(Trainer, "_train_step", step)
    try:
        code, _, err = cimsim(*DIGITAL, "--epochs", 1, "--out", tmp_path / "a")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert [line for line in err.splitlines() if line] == [
        "cimsim: the program stops after this step; press Ctrl-C again to stop at once",
        "cimsim: interrupted; add --resume to the same command to continue from the last "
        "checkpoint",
    ]
