"""Training runs on the embedded digits: finished runs, refusals, and runs that were killed."""

import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cimsim.errors import CimsimError
from cimsim.training import fit as fit_module
from cimsim.training import trainer as trainer_module
from cimsim.training.config import TrainConfig, make_config
from cimsim.training.fit import fit
from cimsim.training.progress import Silent
from cimsim.training.run import Run
from tests.children import ended
from tests.forks import forked


def config(**settings: Any) -> TrainConfig:
    """Three epochs of three steps."""
    usual = {"profile": "pcm-ibm-2020", "epochs": 3, "limit": 300, "batch_size": 128, "seed": 5}
    return make_config(**{**usual, **settings})


class Recorder(Silent):
    def __init__(self) -> None:
        self.steps = 0
        self.notes: list[str] = []

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        self.steps += count

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": ("lotoin",)},
        {"objective": ("distill:teacher=nowhere",)},
        {"objective": ("penalty",)},
        {"objective": ("psa",)},
        {"objective": ("lotion-device",), "profile": "reram-wan-2022"},
        {"corrector": "fogzo:betta=1"},
        {"quantize_inputs": "sparsify"},
        {"denoise": 0.01, "quantize_weights": "denoising:sparsity=3:7"},
        {"quantize_weights": "uniform:bits=0"},
        {"rule": "Z"},
        {"model": "gpt"},
        {"start": "nowhere"},
        {"optimizer": "sgd:momentum=1"},
        {"optimizer": "ternary-chain"},
        {"optimizer": "ternary-chain", "clip_sigma": 0.0, "average": 0.9},
    ],
    ids=str,
)
def test_what_is_refused_leaves_nothing_behind(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CimsimError):
        fit(config(**settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["noise-aware", "digital", "standard-nat"])
def test_a_run_learns_and_is_complete(method: str, tmp_path: Path) -> None:
    watcher = Recorder()
    learns = {"epochs": 4, "batch_size": 64, "lr": 0.003, "limit": None}
    run = fit(config(method=method, **learns), tmp_path / "run", progress=watcher)
    assert run.digital_accuracy > 0.9
    assert run.result["chip_accuracy"] > 0.85
    assert watcher.steps == 4 * 23  # 1437 digits in batches of 64
    files = {path.name for path in run.path.iterdir()}
    assert files == {
        "config.yaml",
        "profile.yaml",
        "env.json",
        "metrics.jsonl",
        "model.safetensors",
        "result.json",
        "SHA256SUMS",
        ".lock",
    }
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == list(range(1, 5))
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]
    environment = json.loads((run.path / "env.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["packages"]["pydantic"]
    assert Run.open(run.path).config == run.config


def test_noise_sets_in_after_the_warm_up(tmp_path: Path) -> None:
    run = fit(config(epochs=5, warmup=0.4, ramp=0.4), tmp_path / "run")
    strengths = [
        json.loads(m)["noise_strength"]
        for m in (run.path / "metrics.jsonl").read_text().splitlines()
    ]
    assert strengths[:2] == [0, 0]
    assert strengths[2] == pytest.approx(0.5)
    assert strengths[3:] == [1, 1]


def test_noise_may_set_in_at_any_step(tmp_path: Path) -> None:
    fit(config(epochs=2, warmup=0.3), tmp_path / "run")


def test_statistics_do_not_depend_on_where_a_run_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the last step: batch normalization is re-estimated at the ages of its own."""
    settings = config(model="tests.training.networks:dropout_net", age="1s:1y")
    whole = fit(settings, tmp_path / "whole")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(settings, tmp_path / "stopped")
    resumed = fit(settings, tmp_path / "stopped", resume=True)
    weights = [(run.path / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert weights[0] == weights[1]


def test_a_seed_is_a_run_bit_for_bit(tmp_path: Path) -> None:
    one, again, other = (
        load_file(fit(config(seed=seed), tmp_path / name).path / "model.safetensors")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


def test_ages_are_part_of_the_run(tmp_path: Path) -> None:
    fresh, aged = (
        load_file(fit(config(age=age), tmp_path / age[-1]).path / "model.safetensors")
        for age in ("0s", "1s:1y")
    )
    assert not all(torch.equal(fresh[k], aged[k]) for k in fresh)


def interrupted(where: str, count: int, settings: TrainConfig, out: Path) -> None:
    """Train with a checkpoint after every step until ``where`` is reached the ``count``-th time."""
    seen, fsync, real_save = itertools.count(1), os.fsync, trainer_module.Trainer._save

    def die(place: str) -> None:
        if place == where and next(seen) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    class Watcher(Silent):
        def step(self, *_: object) -> None:
            die("step")

    def deadly_fsync(fd: int) -> None:
        die("in a file")
        fsync(fd)

    def deadly_save(self: trainer_module.Trainer) -> None:
        die("before a checkpoint")
        real_save(self)
        die("after a checkpoint")

    os.fsync = deadly_fsync  # type: ignore[assignment]
    trainer_module.Trainer._save = deadly_save  # type: ignore[method-assign]
    trainer_module.CHECKPOINT_SECONDS = 0.0
    fit(settings, out, resume=True, progress=Watcher())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What nobody interrupts, with dropout."""
    settings = config(model="tests.training.networks:dropout_net")
    return fit(settings, tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("in a file", 2),
        ("step", 2),
        ("in a file", 9),
        ("before a checkpoint", 4),
        ("after a checkpoint", 7),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(
    where: str, count: int, whole: Run, tmp_path: Path
) -> None:
    """``kill -9`` in the middle of steps, of writing, and around checkpoints (dropout included)."""
    out = tmp_path / "killed"
    with forked(interrupted, [(where, count, whole.config, out)]) as (process,):
        _, error = ended(process)
    assert process.returncode == -signal.SIGKILL, error
    assert not (out / "result.json").exists()
    resumed = fit(whole.config, out, resume=True)
    for name in ("model.safetensors", "result.json"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()

    def losses(run: Run) -> list[float]:
        return [
            json.loads(m)["train_loss"]
            for m in (run.path / "metrics.jsonl").read_text().splitlines()
        ]

    assert losses(resumed) == losses(whole)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = fit(config(), tmp_path / "run")
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.path.iterdir()}
    watcher = Recorder()
    fit(config(), tmp_path / "run", resume=True, progress=watcher)
    assert watcher.notes == [f"the run in {tmp_path / 'run'} is already finished"]
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.path.iterdir()} == before


def test_the_profile_file_may_have_moved_but_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = "name: mine\nextends: generic-gaussian\n"
    file.write_text(text)
    fit(config(profile=str(file)), tmp_path / "run")
    (tmp_path / "new").mkdir()
    moved = file.rename(tmp_path / "new" / "mine.yaml")
    resumed = fit(config(profile=str(moved)), tmp_path / "run", resume=True)
    assert resumed.config.profile == str(moved)
    moved.write_text(text + "cost: {node_nm: 7.0, source: 'assumption: a test'}\n")
    fit(config(profile=str(moved)), tmp_path / "run", resume=True)  # which changes no result
    moved.write_text(text + "adc:\n  bits: 4\n  source:\n    bits: 'assumption: a test'\n")
    with pytest.raises(CimsimError, match="has changed since the run started"):
        fit(config(profile=str(moved)), tmp_path / "run", resume=True)


def test_it_begins_with_the_weights_of_a_run(tmp_path: Path) -> None:
    first = fit(config(method="digital", epochs=8, limit=None), tmp_path / "first")
    tuned = config(start=first.path, epochs=1, lr=1e-9, quantize_weights="lsq:bits=8")
    second = fit(tuned, tmp_path / "second")
    assert abs(second.digital_accuracy - first.digital_accuracy) < 0.01
    (first.path / "result.json").unlink()
    assert Run.open(second.path).chip_model(second.profile) is not None  # no longer needs the first
    with pytest.raises(CimsimError, match="not finished"):
        fit(config(start=first.path), tmp_path / "third")
    with pytest.raises(CimsimError, match="a run of another model: "):
        fit(
            config(start=second.path, model="tests.training.networks:dropout_net"),
            tmp_path / "third",
        )
    assert not (tmp_path / "third").exists()


def test_what_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    fit(config(), out)
    with pytest.raises(CimsimError, match="already contains a run; add --resume"):
        fit(config(), out)
    with pytest.raises(CimsimError, match="other settings: epochs was 3, seed was 5"):
        fit(config(epochs=4, seed=6), out, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(CimsimError, match="exists and is not a run"):
        fit(config(), tmp_path / "mine", resume=True)
    for settings, message in (
        ({"method": "noise-awar"}, "unknown method .* did you mean 'noise-aware'"),
        ({"profile": "pcm-ibm-202"}, "pcm-ibm-2020"),
        ({"rule": "G"}, "no backward rule 'G'"),
        ({"device": "warp"}, "device 'warp' is not available"),
        ({"overrides": ("adc.bitz=4",)}, "bits"),
        ({"keep_digital": ("nothing*",)}, "keep_digital: unknown layer"),
    ):
        with pytest.raises(CimsimError, match=message):
            fit(config(**settings), tmp_path / "never")
        assert not (tmp_path / "never").exists()


def test_two_processes_never_train_in_one_folder(tmp_path: Path) -> None:
    class Second(Silent):
        def epoch(self, metrics: dict[str, Any]) -> None:
            with pytest.raises(CimsimError, match="another process is training in"):
                fit(config(), tmp_path / "run", resume=True)

    fit(config(), tmp_path / "run", progress=Second())


def test_a_changed_profile_is_noticed(tmp_path: Path) -> None:
    from cimsim.profile import dump_profile, load_profile

    file = tmp_path / "mine.yaml"
    text = dump_profile(load_profile("pcm-ibm-2020")).replace("name: pcm-ibm-2020", "name: mine")
    file.write_text(text)
    fit(config(profile=str(file)), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    file.write_text(text.replace("g_max_uS: 25.0", "g_max_uS: 26.0"))
    with pytest.raises(CimsimError, match=r"profile .* has changed since the run started"):
        fit(config(profile=str(file)), tmp_path / "run", resume=True)


def test_another_profile_is_named_as_a_changed_setting(tmp_path: Path) -> None:
    fit(config(profile="pcm-ibm-2020"), tmp_path / "run")
    for result in ("finished", "interrupted"):
        with pytest.raises(CimsimError) as raised:
            fit(config(profile="reram-wan-2022", seed=6), tmp_path / "run", resume=True)
        assert str(raised.value) == (
            f"cannot resume {tmp_path / 'run'} with other settings: profile was pcm-ibm-2020, "
            "seed was 5"
        ), result
        (tmp_path / "run" / "result.json").unlink(missing_ok=True)


def test_a_loss_that_explodes_ends_with_a_sentence(tmp_path: Path) -> None:
    settings = config(model="tests.training.networks:exploding_net", method="digital")
    with pytest.raises(CimsimError, match=r"the loss became (nan|inf) in epoch 1"):
        fit(settings, tmp_path / "run")


def test_a_damaged_checkpoint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: object, __: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer_module.Trainer, "_end_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(config(), tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CimsimError, match=r"checkpoint\.pt is not a readable checkpoint .* remove"):
        fit(config(), tmp_path / "run", resume=True)
