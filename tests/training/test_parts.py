"""The small parts of training: files, configuration, evaluation, weights, runs."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.files import replacing, write_text
from cimsim.nn import digital
from cimsim.nn.scoring import evaluate
from cimsim.nn.weights_file import save_weights
from cimsim.training.clipping import clip_weights, reestimate_statistics
from cimsim.training.config import age_range_s, dump_config, make_config, read_config
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.building import device, gaussian


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half a ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CimsimError, match=r"cannot write .*file: No space left on device"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_configuration_round_trip(tmp_path: Path) -> None:
    config = make_config(
        profile="ideal", overrides=("adc.bits=4",), data_dir=tmp_path, clip_sigma=0, age="1s:1d"
    )
    write_text(tmp_path / "config.yaml", dump_config(config))
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: .* greater than or equal to 1 .*got 0"),
        ({"lr": float("nan")}, "lr: .*finite"),
        ({"noise": -1}, "noise: "),
        ({"age": "1d:1s"}, "age: the range '1d:1s' is empty"),
        ({"seed": 2**63}, "seed: .*less than"),
        ({"age": "old"}, "age: 'old' is not a duration"),
        ({"epoch": 3}, "epoch: .*not permitted"),
        ({"epochs": 0, "seed": -1}, "epochs: .*; seed: "),
    ],
)
def test_configurations_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        make_config(profile="ideal", **settings)


def test_age_ranges() -> None:
    assert age_range_s("1h") == (3600, 3600)
    assert age_range_s("1s:1 day") == (1, 86400)


def test_evaluate_counts() -> None:
    x = torch.eye(4).repeat(3, 1)
    y = torch.arange(4).repeat(3)
    y[:3] = (y[:3] + 1) % 4  # three wrong
    model = nn.Identity().train()
    score = evaluate(model, 50 * x, y, batch_size=5)
    assert score.accuracy == pytest.approx(9 / 12)
    assert score.loss == pytest.approx(3 * 50 / 12, rel=1e-6)
    assert model.training
    with pytest.raises(CimsimError, match="empty data set"):
        evaluate(model, x[:0], y[:0])


def test_clipping_is_per_channel_and_leaves_digital_layers_alone() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(500, 3), nn.Linear(3, 3))
    with torch.no_grad():
        plain[0].weight.copy_(torch.randn(3, 500) * torch.tensor([[1.0], [10.0], [0.1]]))
    model = cimsim.convert(plain, "ideal", keep_digital=["last"])
    clip_weights(model, 2.0)
    rms = plain[0].weight.square().mean(dim=1).sqrt()
    torch.testing.assert_close(model[0].weight.abs().amax(1), 2.0 * rms)
    assert torch.equal(model[1].weight, plain[1].weight)


def test_clipping_again_and_again_leaves_a_channel_of_equal_weights() -> None:
    model = cimsim.convert(nn.Linear(16, 1), "ideal")
    with torch.no_grad():
        model.weight.copy_(0.3 + 0.01 * torch.randn(1, 16))
    before = model.weight.clone()
    for _ in range(100):
        clip_weights(model, 1.5)
    assert torch.equal(model.weight, before)


def test_batchnorm_learns_the_noise() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    model = cimsim.convert(plain, device(read=[gaussian(0.05)]))
    batches = [torch.randn(256, 64) for _ in range(60)]
    reestimate_statistics(model, batches)
    noisy = model[1].running_var.clone()
    with digital(model):
        reestimate_statistics(model, batches)
    quiet = model[1].running_var
    w = model[0].weight.detach()
    torch.testing.assert_close(quiet, w.square().sum(1), rtol=0.05, atol=0)
    added = 64 * 2 * (0.05 * w.abs().amax(1)) ** 2  # two cells a weight, inputs of variance 1
    torch.testing.assert_close(noisy, quiet + added, rtol=0.05, atol=0)
    assert model[1].momentum == 0.1
    assert model.training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = make_config(profile="pcm-ibm-2020", epochs=2)
    return fit(config, tmp_path_factory.mktemp("runs") / "run")


def test_a_full_disk_while_weights_are_saved(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("cimsim.nn.weights_file.save_model", full)
    with pytest.raises(CimsimError, match="No space left on device"):
        save_weights(run.chip_model(run.profile), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_weights_are_as_readable_as_the_rest(run: Run) -> None:
    modes = {(run.path / name).stat().st_mode for name in ("model.safetensors", "config.yaml")}
    assert len(modes) == 1


def test_chip_model_has_the_runs_ranges(run: Run) -> None:
    model = run.chip_model(run.profile)
    assert not model.training
    stored = run.chip_model(run.profile.scale_noise(3.0))
    for name, value in model.state_dict().items():
        assert torch.equal(stored.state_dict()[name], value)


def test_chip_model_with_other_converters_is_calibrated_anew(run: Run) -> None:
    from cimsim.profile import load_profile

    four_bits = load_profile("pcm-ibm-2020", ["adc.bits=4", "dac.bits=4"])
    before, after = run.chip_model(run.profile), run.chip_model(four_bits)
    name = next(k for k in before.state_dict() if k.endswith("adc_range"))
    assert after.state_dict()[name] < before.state_dict()[name]


def test_folders_that_are_no_runs(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="no such folder"):
        Run.open(tmp_path / "missing")
    with pytest.raises(CimsimError, match=r"is not a run: it has no config\.yaml"):
        Run.open(tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("config.yaml", "profile.yaml"):
        (unfinished / name).write_bytes((run.path / name).read_bytes())
    with pytest.raises(CimsimError, match="is not finished; continue it with"):
        Run.open(unfinished)
    for content in ("{", "[]", '{"digital_accuracy": "high"}'):
        (unfinished / "result.json").write_text(content)
        with pytest.raises(CimsimError, match=r"result\.json cannot be read"):
            Run.open(unfinished)


def test_damaged_weights(run: Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "SHA256SUMS").unlink()  # which would notice it first
    (copy / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(
        CimsimError, match=r"model\.safetensors does not contain this model's weights"
    ):
        Run.open(copy).chip_model(run.profile)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CimsimError, match=r"model\.safetensors"):
        _ = Run.open(copy).checkpoint_sha256


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "I am no folder")
    with pytest.raises(CimsimError, match=r"cannot write .*Not a directory"):
        write_text(tmp_path / "file" / "inside", "text")
