"""Which layer costs how much, where the answer is known."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.effects import EVERYTHING, NOTHING
from cimsim.analysis.studies.sensitivity import STUDY, sensitivity
from cimsim.analysis.subjects import ModelSubject
from cimsim.errors import CimsimError
from cimsim.nn import profiles
from cimsim.runs import RunSubject
from cimsim.training.run import Run

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def labeled() -> tuple[nn.Module, Batches]:
    """A network of two layers that is always right without a chip."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).requires_grad_(False)
    x = torch.randn(400, 16)
    return net, list(zip(x.split(100), net(x).argmax(-1).split(100), strict=True))


@pytest.mark.parametrize(("terrible", "fine"), [("0", "2"), ("2", "0")])
def test_a_terrible_device_makes_its_layer_the_sensitive_one(
    labeled: tuple[nn.Module, Batches], terrible: str, fine: str
) -> None:
    net, batches = labeled
    awful = cimsim.load_profile("mismatch").scale_noise(8)
    model = cimsim.convert(net, "ideal", layers={terrible: {"profile": awful}})
    cimsim.program(model, 77)
    before = profiles(model), {n: la.chip_seed for n, la in cimsim.analog_layers(model).items()}
    found = sensitivity(ModelSubject(model, iter(batches)), Evaluation(5))
    worst, other = found.layers
    assert (worst.name, other.name) == (terrible, fine)
    assert worst.lost.mean > 0.3
    assert other.lost.mean == 0
    assert worst.alone == replace(found.everything, level=terrible)
    assert worst.gained.mean == pytest.approx(1 - found.everything.mean)
    assert other.gained.mean == 0
    assert found.nothing.mean == 1
    # Weights off by 240 % of themselves: an error of 2.4^2 times the power of independent terms.
    assert worst.snr_dB < 0
    assert other.snr_dB > 100
    assert (worst.profile, other.profile) == ("mismatch", "ideal")
    assert worst.macs + other.macs == pytest.approx(1)
    products = {"0": 16 * 32, "2": 32 * 4}
    assert worst.macs == pytest.approx(products[terrible] / sum(products.values()))
    after = profiles(model), {n: la.chip_seed for n, la in cimsim.analog_layers(model).items()}
    assert after == before


def test_noise_and_age_are_those_asked_for(labeled: tuple[nn.Module, Batches]) -> None:
    net, batches = labeled
    model = cimsim.calibrate(cimsim.convert(net, "pcm-ibm-2020"), [batches[0][0]])
    subject = ModelSubject(model, batches)
    quiet, loud = (sensitivity(subject, Evaluation(2, noise=k)) for k in (1.0, 6.0))
    old = sensitivity(subject, Evaluation(2, age_s=31557600.0))
    for layer in quiet.layers:
        (louder,) = (other for other in loud.layers if other.name == layer.name)
        (older,) = (other for other in old.layers if other.name == layer.name)
        assert louder.snr_dB < layer.snr_dB - 5
        assert older.snr_dB < layer.snr_dB - 1
    assert (old.facts.age_s, loud.facts.noise) == (31557600.0, 6.0)


def test_a_run_and_its_model_say_the_same(trained: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    found = sensitivity(RunSubject(run), Evaluation(2, noise=6.0, samples=200))
    pairs = [(run.data.test_x[:200], run.data.test_y[:200])]
    same = sensitivity(ModelSubject(run.chip_model(), pairs), Evaluation(2, noise=6.0))
    assert found.everything == same.everything
    for layer, other in zip(found.layers, same.layers, strict=True):
        assert (layer.name, layer.alone, layer.rest) == (other.name, other.alone, other.rest)
        # Other batches, so other draws of read noise. The classifier has the fewest outputs, 4000:
        # the power of their noise has a standard error of 2.2 %, a difference of two 0.14 dB.
        assert layer.snr_dB == pytest.approx(other.snr_dB, abs=5 * 0.14)
        assert layer.dac_clipped == other.dac_clipped
    told: list[tuple[int, int]] = []
    again = Evaluation(2, noise=6.0, samples=200, progress=lambda d, t, _: told.append((d, t)))
    assert sensitivity(RunSubject(run), again) == found
    assert told == [(16, 16)]  # nothing was evaluated again
    write_result(run.path, found)
    assert STUDY.read(run.path) == found
    assert (run.path / "sensitivity" / "results.csv").exists()
    file = run.path / "sensitivity" / "sensitivity_noise=6_samples=200.csv"
    table = file.read_text().splitlines()
    assert len(table) == 1 + 3
    assert not (run.path / "sweeps").exists()


def test_what_is_not_finite_is_kept(labeled: tuple[nn.Module, Batches], tmp_path: Path) -> None:
    net, batches = labeled
    found = sensitivity(ModelSubject(cimsim.convert(net, "ideal"), batches), Evaluation(1))
    write_result(tmp_path, found)
    again = STUDY.read(tmp_path)
    assert [layer.snr_dB for layer in again.layers] == [layer.snr_dB for layer in found.layers]
    assert math.isnan(again.everything.std)
    assert again.everything.mean == found.everything.mean == 1
    files = save(again.figure(), tmp_path / "picture.png")
    assert all(path.stat().st_size > 5000 for path in files)


def test_what_was_not_measured_or_is_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="there is no such result; run `cimsim sensitivity"):
        STUDY.read(tmp_path)
    (tmp_path / "sensitivity").mkdir()
    for text in ("{", "{}", '{"layers": [{}]}', "[]"):
        (tmp_path / "sensitivity" / "sensitivity.json").write_text(text)
        with pytest.raises(CimsimError, match="is damaged"):
            STUDY.read(tmp_path)


def test_one_layer_is_everything(labeled: tuple[nn.Module, Batches]) -> None:
    net, batches = labeled
    model = cimsim.convert(net, "mismatch", keep_digital=["0"])
    found = sensitivity(ModelSubject(model, batches), Evaluation(3))
    (layer,) = found.layers
    assert layer.alone.mean == found.everything.mean
    assert layer.rest.mean == found.nothing.mean == 1
    assert {EVERYTHING, NOTHING} == {found.everything.level, found.nothing.level}
