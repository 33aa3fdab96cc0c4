"""The networks that are shipped: by name, undamaged, and as good as their cards say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.models.cards import read_card
from cimsim.nn.scoring import evaluate
from cimsim.training import trained_networks
from cimsim.training.config import make_config
from cimsim.training.data import load_data
from cimsim.training.fit import fit
from cimsim.training.manifest import checked_sha256, read_sums
from cimsim.training.run import new_model

DIGITS = "digits-mlp"
LARGEST = 5_000_000  # bytes of all networks together


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the networks that may be damaged; the folder of the digits."""
    shutil.copytree(trained_networks.FOLDER / DIGITS, tmp_path / DIGITS)
    monkeypatch.setattr(trained_networks, "FOLDER", tmp_path)
    return tmp_path / DIGITS


@pytest.mark.parametrize("name", cimsim.models.names())
def test_every_network_loads_and_is_undamaged(name: str) -> None:
    folder, card = trained_networks.folder_of(name), cimsim.models.card(name)
    assert set(read_sums(folder)) == {"model.safetensors", "profile.yaml", "card.json"}
    for file in read_sums(folder):
        checked_sha256(folder / file)
    model = cimsim.models.load(name)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == card.parameters
    assert card.name == name
    assert card.profile == cimsim.nn.profiles(model).profile.name
    assert all(score.chips >= 10 for score in card.on_chips)
    with torch.no_grad():
        logits = cimsim.program(model, seed=1)(torch.randn(2, *card.input_shape))
    assert logits.shape == (2, card.classes)
    assert logits.isfinite().all()


def test_all_networks_together_are_small() -> None:
    files = [file for file in trained_networks.FOLDER.glob("*/*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < LARGEST


def accuracy(model: nn.Module) -> float:
    data = load_data("digits")
    return evaluate(model, data.test_x, data.test_y, 125).accuracy


def test_digits_are_as_accurate_as_on_the_card() -> None:
    card, model = cimsim.models.card(DIGITS), cimsim.models.load(DIGITS)
    with cimsim.nn.digital(model):
        assert accuracy(model) == pytest.approx(card.digital, abs=0.003)
    day = card.on_chips[-1]
    found = [
        accuracy(cimsim.age(cimsim.program(model, chip), day.age_s)) for chip in range(day.chips)
    ]
    # The same chips: what remains is the last bits of another processor.
    assert sum(found) / len(found) == pytest.approx(day.mean, abs=0.003)


def test_another_profile_needs_ranges_where_its_converters_differ() -> None:
    other = cimsim.load_profile("pcm-ibm-2020", ["adc.bits=6"])
    model = cimsim.models.load(DIGITS, other)
    assert cimsim.nn.profiles(model).profile.adc.bits == 6
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(CimsimError, match="calibrate"):
        cimsim.program(model, 0)(x)
    cimsim.program(cimsim.calibrate(model, [torch.rand(8, 1, 8, 8)]), 0)(x)


def test_unknown_name() -> None:
    with pytest.raises(CimsimError, match=r"digits-mpl.*digits-mlp"):
        cimsim.models.load("digits-mpl")


@pytest.mark.parametrize("file", ["model.safetensors", "profile.yaml", "card.json"])
def test_damage_is_one_sentence(file: str, copied: Path) -> None:
    content = bytearray((copied / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / file).write_bytes(content)
    with pytest.raises(CimsimError, match=f"{file} is damaged or was changed") as error:
        cimsim.models.load(DIGITS)
    assert "\n" not in str(error.value)


def test_card_of_another_format(copied: Path) -> None:
    (copied / "SHA256SUMS").unlink()
    (copied / "card.json").write_text("{}")
    with pytest.raises(CimsimError, match="is not a card of a trained network"):
        read_card(copied / "card.json")


def test_training_starts_from_a_name(tmp_path: Path) -> None:
    settings = {"profile": "pcm-ibm-2020", "data": "digits", "model": "mlp", "limit": 64}
    config = make_config(**settings, start=Path(DIGITS), epochs=1, lr=1e-9, clip_sigma=0.0)
    profile, data = cimsim.load_profile("pcm-ibm-2020"), load_data("digits")
    model = new_model(config, profile, {}, data, config.start)
    shipped = dict(cimsim.models.load(DIGITS).named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, shipped[name])
    run = fit(config, tmp_path / "run", resume=False)
    assert run.digital_accuracy == pytest.approx(cimsim.models.card(DIGITS).digital, abs=0.003)


def test_training_of_another_model_is_refused(tmp_path: Path) -> None:
    config = make_config(profile="ideal", data="digits", model="cnn", start=Path(DIGITS))
    with pytest.raises(
        CimsimError, match=r"cannot start from .*digits-mlp, a run of another model"
    ):
        fit(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_precedes_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DIGITS).mkdir()
    config = make_config(profile="ideal", data="digits", model="mlp", start=Path(DIGITS))
    with pytest.raises(CimsimError, match="digits-mlp is not a run"):
        fit(config, tmp_path / "run")
