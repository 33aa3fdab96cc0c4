"""Configurations of the installed libraries: every field is handled or reported."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any

import pytest

from cimsim.exchange import from_aihwkit, from_crosssim, import_profile, to_aihwkit, to_crosssim
from cimsim.exchange.aihwkit_converters import CONVERTERS
from cimsim.exchange.aihwkit_fields import FIELDS as OF_AIHWKIT
from cimsim.exchange.aihwkit_fields import IGNORED, WHOLE
from cimsim.exchange.aihwkit_noise import MODELS
from cimsim.exchange.crosssim_fields import CHOICES, VMM
from cimsim.exchange.crosssim_fields import FIELDS as OF_CROSSSIM
from cimsim.exchange.differences import lost
from cimsim.exchange.source import flat, plain, same

CONFIGS = (
    "InferenceRPUConfig",
    "TorchInferenceRPUConfig",
    "QuantizedTorchInferenceRPUConfig",
    "TorchInferenceRPUConfigIRDropT",
    "StandardHWATrainingPreset",
    "FloatingPointPreset",
)
ADCS = ("IdealADC", "QuantizerADC", "SignMagnitudeADC", "RampADC", "SarADC", "PipelineADC")


def leaves(config: object, whole: frozenset[str] = frozenset()) -> dict[str, Any]:
    values = {k: v for k, v in plain(config).items() if k not in IGNORED}
    found = dict(flat(values, whole))
    return {k: v for k, v in found.items() if not k.endswith(".class")}


@pytest.fixture
def aihwkit() -> Any:
    reason = "compares with aihwkit, which needs its compiled extension"
    return pytest.importorskip("aihwkit.simulator.configs.configs", reason=reason)


@pytest.fixture
def crosssim() -> Any:
    return pytest.importorskip("simulator", reason="compares with CrossSim, which is no package")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_of_aihwkit_is_in_the_table(aihwkit: Any, name: str) -> None:
    from aihwkit.simulator import presets

    config = getattr(aihwkit, name, None) or getattr(presets, name, None)
    if config is None:
        from aihwkit.simulator.presets import inference

        config = getattr(inference, name)
    known = {field.path for field in OF_AIHWKIT}
    assert set(leaves(config(), WHOLE)) - known == set()


def test_the_defaults_of_aihwkit(aihwkit: Any) -> None:
    given = leaves(aihwkit.InferenceRPUConfig(), WHOLE)
    table = {field.path: field.default for field in OF_AIHWKIT}
    wrong = {
        path: (value, table[path])
        for path, value in given.items()
        if path not in WHOLE and not same(value, table[path])
    }
    assert wrong == {}


def noise_models() -> list[Any]:
    from aihwkit.inference.noise.custom import StateIndependentNoiseModel
    from aihwkit.inference.noise.hermes import HermesNoiseModel
    from aihwkit.inference.noise.pcm import CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel
    from aihwkit.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel

    drift = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.08, 0.04], "nu_std_lst": [0.03, 0.01]}
    return [
        PCMLikeNoiseModel(),
        PCMLikeNoiseModel(g_max=20.0, prog_noise_scale=2.0, drift_scale=0.5),
        PCMLikeNoiseModel(prog_coeff=[0.1, 0.2, 0.3, 0.4]),
        CustomDriftPCMLikeNoiseModel(drift),
        HermesNoiseModel(),
        HermesNoiseModel(num_devices=1, g_max=8.0),
        StateIndependentNoiseModel(),
        ReRamWan2022NoiseModel(g_max=40.0),
        ReRamCMONoiseModel(),
    ]


def test_every_attribute_of_every_noise_model_is_in_the_table(aihwkit: Any) -> None:
    for model in noise_models():
        values = plain(model, 1)
        fields = {field.path for field in MODELS[values["class"]][0]}
        assert set(values) - fields == set(), values["class"]
        converter = values["g_converter"]
        assert set(converter) - {f.path for f in CONVERTERS[converter["class"]]} == set()


def test_there_and_back_with_aihwkit(aihwkit: Any) -> None:
    for model in noise_models():
        profile = from_aihwkit(aihwkit.InferenceRPUConfig(noise_model=model)).profile
        exported = to_aihwkit(profile)
        assert exported.notes == ()
        assert lost(profile, from_aihwkit(exported.build()).profile, "aihwkit") == ()


def test_the_python_file_makes_the_same_configuration(aihwkit: Any, tmp_path: Path) -> None:
    from cimsim.profile import load_profile

    exported = to_aihwkit(load_profile("pcm-hermes-2023"))
    names: dict[str, Any] = {}
    exec(compile(exported.python(), "exported", "exec"), names)
    assert plain(names["make"]()) == plain(exported.build())


def test_a_preset_by_name(aihwkit: Any) -> None:
    imported = import_profile("aihwkit:StandardHWATrainingPreset")
    assert imported.profile.name == "StandardHWATrainingPreset"
    assert imported.profile.adc.noise_of_range == pytest.approx(0.004)
    assert imported.profile.wires is not None
    assert "forward.ir_drop" in {note.field for note in imported.notes}


def test_every_field_of_crosssim_is_in_the_table(crosssim: Any) -> None:
    known = {field.path: field.default for field in OF_CROSSSIM}
    for adc in ADCS:
        params = crosssim.CrossSimParameters()
        params.xbar.adc.mvm.model = adc
        given = {k: v for k, v in leaves(params).items() if not k.startswith(VMM) and k != "class"}
        assert set(given) - set(known) == set()
        if adc == "IdealADC":
            wrong = {k: (v, known[k]) for k, v in given.items() if not same(v, known[k])}
            assert wrong == {}


def test_the_enumerations_of_crosssim(crosssim: Any) -> None:
    params = crosssim.CrossSimParameters()
    for path, choices in CHOICES.items():
        inner: Any = params
        for part in path.split("."):
            inner = getattr(inner, part)
        assert isinstance(inner, enum.IntEnum)
        for member in type(inner):
            assert choices[member - 1] == member.name


def test_there_and_back_with_crosssim(crosssim: Any) -> None:
    for name in ("SONOS-TCAS", "default"):
        profile = import_profile(f"crosssim:{name}").profile
        exported = to_crosssim(profile)
        assert exported.notes == ()
        assert lost(profile, from_crosssim(exported.build()).profile, "CrossSim") == ()


def test_a_file_and_its_object_are_the_same(crosssim: Any, tmp_path: Path) -> None:
    params = crosssim.CrossSimParameters.from_json("ISAAC")
    params.to_json(tmp_path / "isaac.json")
    read = import_profile(str(tmp_path / "isaac.json"), "isaac")
    assert dataclasses.is_dataclass(params)
    assert lost(from_crosssim(params).profile, read.profile, "x") == ()
