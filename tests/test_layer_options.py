"""Settings of some layers as text, and runs that were trained with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cimsim
from cimsim.errors import CimsimError
from cimsim.layer_options import WORDS, format_layer, parse_layers, with_profiles
from cimsim.nn import Assignment, analog_layers, profiles, set_profile
from cimsim.nn.layer_settings import LayerSettings
from cimsim.profile import dump_profile, load_profile
from cimsim.training.config import TrainConfig, dump_config, make_config
from cimsim.training.data import load_data
from cimsim.training.fit import check, fit
from cimsim.training.methods import make_method
from cimsim.training.run import Run, new_model


def config(**settings: Any) -> TrainConfig:
    return make_config(**{"profile": "pcm-ibm-2020", "epochs": 1, "limit": 256, **settings})


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("a:digital", {"digital": True}),
        ("a.*.b : adc.bits = 8 , rule=C", {"adc.bits": 8, "rule": "C"}),
        ("a:profile=some/file.yaml", {"profile": "some/file.yaml"}),
        ("a:denoise=1e-2", {"denoise": 0.01}),
        ("a:adc.bits=null,temperature_C=80", {"adc.bits": None, "temperature_C": 80}),
        (
            "a:adc.range={kind: fixed, full_scale: 3},rule=C",
            {"adc.range": {"kind": "fixed", "full_scale": 3}, "rule": "C"},
        ),
        (
            "a:quantize_weights=denoising:bits=1,sparsity=2:4,rule=E,quantize_inputs=lsq:bits=4",
            {
                "quantize_weights": "denoising:bits=1,sparsity=2:4",
                "rule": "E",
                "quantize_inputs": "lsq:bits=4",
            },
        ),
    ],
)
def test_what_is_written_is_what_convert_takes(text: str, settings: dict[str, Any]) -> None:
    assert parse_layers([text]) == {text.partition(":")[0].strip(): settings}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["fc2"], "the form PATTERN:SETTINGS"),
        ([":digital"], "the form PATTERN:SETTINGS"),
        (["fc2:"], "the form PATTERN:SETTINGS"),
        (["a:digitl"], "unknown setting of a layer 'digitl'; did you mean 'digital'"),
        (["a:ruel=C"], "unknown setting of a layer 'ruel'; did you mean 'rule'"),
        (["a:rule"], "needs a value, 'rule=VALUE'"),
        (["a:adc.bits="], "needs a value, 'adc.bits=VALUE'"),
        (["a:digital=no"], "'digital' takes no value"),
        (["a:denoise=much"], "denoise must be a number, not 'much'"),
        (["a:adc.bits=8,adc.bits=6"], "adc.bits is given twice"),
        (["a:adc.range={kind: fixed"], "adc.range"),
        (["a:rule=C", "a:digital"], "'a' is given twice"),
    ],
)
def test_what_cannot_be_read_is_told(texts: list[str], message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        parse_layers(texts)
    with pytest.raises(CimsimError, match=message):
        config(layer=tuple(texts))


@given(
    st.dictionaries(
        st.sampled_from(["adc.bits", "dac.bits", "array.rows"]), st.integers(2, 4096), min_size=1
    )
)
def test_what_is_formatted_is_read_again(settings: dict[str, Any]) -> None:
    assert parse_layers([format_layer("x*", settings)]) == {"x*": settings}


def test_the_words_are_those_of_convert() -> None:
    assert set(WORDS) == set(LayerSettings.__dataclass_fields__)


MIXED = ("hidden1:adc.bits=6", "hidden2:profile=generic-gaussian,rule=C", "classifier:digital")


def test_a_step_scales_the_noise_of_every_layers_own_device() -> None:
    settings = config(layer=MIXED, noise=3.0)
    layers = with_profiles(parse_layers(settings.layer))
    model = new_model(settings, load_profile("pcm-ibm-2020"), layers, load_data("digits"))
    method = make_method(settings, profiles(model))
    with method.setting(model, 0.5, 7):
        found = {name: layer.array.profile for name, layer in analog_layers(model).items()}
    assert profiles(model) == method.profiles  # those of evaluation
    assert found == {
        "hidden1": load_profile("pcm-ibm-2020", ["adc.bits=6"]).scale_noise(1.5),
        "hidden2": load_profile("generic-gaussian").scale_noise(1.5),
    }
    assert [layer.rule.letter for layer in analog_layers(model).values()] == ["F", "C"]


def test_a_run_keeps_the_profiles_of_its_layers(tmp_path: Path) -> None:
    own = load_profile("generic-gaussian", ["adc.bits=5"])
    (tmp_path / "own.yaml").write_text(dump_profile(own))
    layer = ("hidden1:adc.bits=6", f"hidden2:profile={tmp_path}/own.yaml", "classifier:digital")
    fit(config(layer=layer, learn_ranges=()), tmp_path / "run")
    (tmp_path / "own.yaml").unlink()  # no longer needed
    moved = Run.open(shutil.move(tmp_path / "run", tmp_path / "moved"))
    model = moved.chip_model()
    found = {name: layer.profile for name, layer in analog_layers(model).items()}
    assert found == {
        "hidden1": load_profile("pcm-ibm-2020", ["adc.bits=6"]),
        "hidden2": load_profile(moved.path / "layer-2.yaml"),
    }
    assert found["hidden2"].adc.bits == 5
    assert type(model.classifier) is torch.nn.Linear
    assert moved.profiles == profiles(model)
    on_chip = json.loads((moved.path / "result.json").read_text())["chip_accuracy"]
    cimsim.program(model, moved.config.seed)
    right = (model(moved.data.test_x).argmax(-1) == moved.data.test_y).double().mean().item()
    assert right == on_chip


def test_other_layers_are_another_run(tmp_path: Path) -> None:
    fit(config(layer=MIXED), tmp_path / "run")
    assert fit(config(layer=MIXED), tmp_path / "run", resume=True).layers
    other = config(layer=("hidden1:adc.bits=5", *MIXED[1:]))
    with pytest.raises(CimsimError, match=r"cannot resume .* the settings of layers"):
        fit(other, tmp_path / "run", resume=True)


def test_a_profile_of_a_layer_may_move_but_not_change(tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in ("one.yaml", "two.yaml"))
    one.write_text(dump_profile(load_profile("generic-gaussian")))
    fit(config(layer=(f"hidden1:profile={one}",)), tmp_path / "run")
    one.rename(two)
    moved = config(layer=(f"hidden1:profile={two}",))
    assert fit(moved, tmp_path / "run", resume=True).config.layer == moved.layer
    two.write_text(dump_profile(load_profile("generic-gaussian", ["adc.bits=5"])))
    with pytest.raises(CimsimError, match="or their profiles have changed"):
        fit(moved, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (("hiden1:digital",), "layers: unknown layer 'hiden1'; did you mean 'hidden1'"),
        (("hidden1:adc.bit=6",), r"layers 'hidden1': adc.bit=6: .*did you mean 'bits'"),
        (("hidden1:profile=pcm-ibm-2021",), "did you mean 'pcm-ibm-2020'"),
        (("hidden1:digital,rule=C",), "a digital layer has no other settings; leave out rule"),
        (("hidden1:rule=Z",), "layers 'hidden1': .*backward rule 'Z'"),
        (("*:digital",), "every layer is digital"),
    ],
)
def test_what_makes_no_sense_leaves_nothing_behind(
    layer: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CimsimError, match=message):
        fit(config(layer=layer), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["digital", "adc.bits=8"])
def test_a_layer_that_is_kept_digital_has_no_settings(setting: str) -> None:
    kept = config(layer=(f"hidden1:{setting}",), keep_digital=("first",))
    with pytest.raises(CimsimError, match="layers: 'hidden1' matches only layers that are kept di"):
        check(kept)
    check(config(layer=(f"hidden?:{setting}",), keep_digital=("first",)))


def test_later_patterns_come_on_top() -> None:
    settings = config(layer=("*:adc.bits=6", "hidden?:digital", "hidden2:profile=generic-gaussian"))
    model = new_model(
        settings,
        load_profile("pcm-ibm-2020"),
        with_profiles(parse_layers(settings.layer)),
        load_data("digits"),
    )
    found = {name: layer.profile for name, layer in analog_layers(model).items()}
    assert {name: (p.name, p.adc.bits) for name, p in found.items()} == {
        "hidden2": ("generic-gaussian", 8),
        "classifier": ("pcm-ibm-2020", 6),
    }


def test_an_assignment_says_which_layer_is_digital() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    noisy = load_profile("mismatch")  # with ideal converters
    model = cimsim.convert(net, noisy).eval()
    x = torch.randn(5, 8)
    assert profiles(model) == Assignment(noisy)
    set_profile(model, Assignment(noisy, (("0", None),)))
    assert torch.equal(model[0](x), net[0](x))
    assert not torch.equal(model[1](x), net[1](x))
    assert profiles(model) == Assignment(noisy, (("0", None),))
    assert hash(profiles(model)) == hash(Assignment(noisy, (("0", None),)))
    set_profile(model, Assignment(noisy))
    assert not torch.equal(model[0](x), net[0](x))
    with pytest.raises(CimsimError, match="unknown analog layer '2'"):
        set_profile(model, Assignment(noisy, (("2", None),)))


def test_a_rule_by_its_name_is_the_same_run() -> None:
    named, lettered = config(rule="output-ste"), config(rule="C")
    assert named == lettered
    assert dump_config(named) == dump_config(lettered)
    profile, layers = load_profile(named.profile), parse_layers(["hidden1:rule=output-ste"])
    model = new_model(config(), profile, layers, load_data("digits"))
    assert [layer.rule.letter for layer in analog_layers(model).values()] == ["C", "F", "F"]
