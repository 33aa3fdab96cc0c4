"""Which ranges a training learns, and that it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis import Evaluation
from cimsim.errors import CimsimError
from cimsim.estimators import RULES
from cimsim.nn import analog_layers
from cimsim.profile import CONVERTERS, FixedRange, Profile, learned_ranges, load_profile
from cimsim.runs import RunSubject, open_run
from cimsim.training.config import TrainConfig, make_config
from cimsim.training.fit import check, fit
from cimsim.training.methods import METHODS, ranges_to_learn, without_unused_ranges
from cimsim.training.plan import TrainingPlan
from cimsim.training.progress import Silent


def small(**settings: Any) -> TrainConfig:
    common = {"data": "digits", "model": "mlp", "epochs": 1, "batch_size": 20, "limit": 60}
    return make_config(**{"profile": "pcm-ibm-2020", **common, **settings})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rule", RULES)
def test_ranges_are_learned_where_the_gradient_stops_at_them(method: str, rule: str) -> None:
    config = small(method=method, rule=rule)
    on_chip = method in ("noise-aware", "fake-quantized")
    expected = ("dac",) if on_chip and RULES[rule].needs_slopes else ()
    assert ranges_to_learn(config) == expected
    assert TrainingPlan.load(config).profile.dac.range.kind == (
        "learned" if expected else load_profile("pcm-ibm-2020").dac.range.kind
    )


def test_the_rule_of_one_layer_counts() -> None:
    assert ranges_to_learn(small(layer=("hidden1:rule=C",))) == ()
    assert ranges_to_learn(small(layer=("hidden1:rule=E",))) == ("dac",)


@pytest.mark.parametrize(
    "settings",
    [
        {"overrides": ("dac.range={kind: percentile, percentile: 90}",)},
        {"overrides": ("dac={bits: 6, range: {kind: max}}",)},
        {"layer": ("hidden1:dac.range={kind: max}",)},
    ],
)
def test_a_range_that_the_user_sets_is_not_replaced(settings: dict[str, Any]) -> None:
    plan = TrainingPlan.load(small(**settings))
    assert plan.profile.dac.range.kind != "learned"
    assert ranges_to_learn(small(learn_ranges=("dac",), **settings)) == ("dac",)


@pytest.mark.parametrize("converter", CONVERTERS)
def test_a_range_cannot_be_both_set_and_learned(converter: str) -> None:
    own, learned = f"{converter}.range.kind=max", f"{converter}.range.kind=learned"
    with pytest.raises(CimsimError) as raised:
        check(small(learn_ranges=(converter,), overrides=("adc.bits=6", own)))
    assert str(raised.value) == (
        f"learn_ranges: the range of the {converter.upper()} cannot be both learned and set by "
        f"{own}; leave {converter} out (none learns no range), or leave out {own}"
    )
    for allowed in (
        {"learn_ranges": ()},
        {"overrides": (learned,)},
        {"overrides": ("dac.bits=6",)},
    ):
        check(small(**{"learn_ranges": (converter,), "overrides": (own,), **allowed}))
    of_a_layer = small(learn_ranges=(converter,), layer=(f"hidden1:{own}",))
    kinds = {
        name: getattr(layer.profile, converter).range.kind
        for name, layer in analog_layers(TrainingPlan.load(of_a_layer).new_model()).items()
    }
    assert kinds.pop("hidden1") == "max"
    assert set(kinds.values()) == {"learned"}


FIXED = "{}.range={{kind: fixed, full_scale: 1.0}}"


@pytest.mark.parametrize("converter", CONVERTERS)
def test_a_fixed_range_that_is_to_be_learned_is_an_error(converter: str) -> None:
    """Only where it is named; the default leaves it."""
    fixed = {"overrides": (FIXED.format(converter),)}
    with pytest.raises(CimsimError, match=f"the {converter.upper()} cannot be learned, because"):
        TrainingPlan.load(small(learn_ranges=(converter,), **fixed))
    kept = getattr(TrainingPlan.load(small(**fixed)).profile, converter).range
    assert isinstance(kept, FixedRange)
    mixed = small(learn_ranges=(converter,), layer=("hidden1:profile=reram-wan-2022",), **fixed)
    (own,) = TrainingPlan.load(mixed).layers.values()
    assert learned_ranges(own["profile"]) == (converter,)


@pytest.mark.parametrize("method", [m for m in METHODS if not METHODS[m].on_device])
def test_a_method_without_converters_learns_no_ranges(method: str, tmp_path: Path) -> None:
    """An error where they are named for it, but not where they are for several methods."""
    given = small(method=method, learn_ranges=("dac",))
    with pytest.raises(CimsimError, match=rf"learn_ranges: method '{method}' does not simulate"):
        TrainingPlan.load(given)
    assert ranges_to_learn(small(method=method, learn_ranges=())) == ()
    assert TrainingPlan.load(without_unused_ranges(given)).config.learn_ranges is None
    config = given.model_copy(update={"method": "noise-aware"})
    assert without_unused_ranges(config) == config


@pytest.mark.parametrize("converter", CONVERTERS)
def test_an_ideal_converter_has_no_range_to_learn(converter: str) -> None:
    ideal = {"overrides": (f"{converter}.bits=null",)}
    message = f"because the converter is ideal in the profile pcm-ibm-2020; leave {converter} out"
    with pytest.raises(CimsimError, match=message):
        TrainingPlan.load(small(learn_ranges=(converter,), **ideal))
    mixed = small(learn_ranges=(converter,), layer=("hidden1:profile=reram-wan-2022",), **ideal)
    (own,) = TrainingPlan.load(mixed).layers.values()
    assert learned_ranges(own["profile"]) == (converter,)
    both = small(
        learn_ranges=(converter,),
        layer=("hidden1:profile=ideal",),
        overrides=(FIXED.format(converter),),
    )
    with pytest.raises(CimsimError, match=f"set another {converter}.range and {converter}.bits"):
        TrainingPlan.load(both)


@pytest.mark.parametrize("converter", CONVERTERS)
def test_convert_refuses_it_as_well(converter: str) -> None:
    profile = load_profile("pcm-ibm-2020", [FIXED.format(converter)])
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(
        CimsimError, match=rf"leave {converter} out \(.*\), or set another {converter}"
    ):
        cimsim.convert(net, profile, learn_ranges=converter, inplace=True)
    assert all(type(layer) is nn.Linear for layer in net)
    layers = {"1": {"profile": "pcm-ibm-2020"}}
    model = cimsim.convert(net, profile, learn_ranges=converter, layers=layers)
    learned = [name for name, _ in model.named_parameters() if name.endswith("_range")]
    assert learned == [f"1.{converter}_range"]


def test_every_converter_of_a_profile_can_be_named() -> None:
    ranged = {name for name, part in load_profile("pcm-ibm-2020") if hasattr(part, "range")}
    assert set(CONVERTERS) == ranged


@pytest.mark.parametrize("given", ["none", ["none"], (), []])
def test_none_is_an_empty_list(given: Any) -> None:
    assert ranges_to_learn(small(learn_ranges=given)) == ()


def test_nothing_else_is_a_converter() -> None:
    with pytest.raises(CimsimError, match="learn_ranges"):
        small(learn_ranges=("none", "dac"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "learned"
    fit(small(epochs=6), folder, progress=Silent())
    return folder


def ranges(path: Path, on: Profile | None = None) -> list[float]:
    subject = open_run(path)
    assert isinstance(subject, RunSubject)
    model = subject.run.chip_model(on)
    return [p.item() for name, p in model.named_parameters() if name.endswith("dac_range")]


def test_the_range_is_learned_and_stays_on_another_profile(run: Path) -> None:
    subject = open_run(run)
    own = ranges(run)
    assert len(own) == 3
    model = subject.model()
    for layer in analog_layers(model).values():
        torch.nn.init.constant_(layer.dac_range, torch.nan)
    cimsim.calibrate(model, subject.calibration())
    assert [layer.dac_range.item() for layer in analog_layers(model).values()] != own
    other = Evaluation(profile=load_profile("reram-wan-2022")).assignment(subject).profile
    assert other.dac.range.kind == "learned"
    assert ranges(run, other) == own
    ideal = Evaluation(profile=load_profile("ideal")).assignment(subject).profile
    assert ranges(run, ideal) == own
    x, model = subject.test_data.test_x, subject.run.chip_model(ideal)
    with torch.no_grad():
        on_chip = model(x)
        with cimsim.nn.digital(model):
            torch.testing.assert_close(on_chip, model(x), atol=1e-4, rtol=1e-4)
    fixed = load_profile("reram-wan-2022", ["dac.range={kind: fixed, full_scale: 2.0}"])
    assert Evaluation(profile=fixed).assignment(subject).profile == fixed


class Branched(nn.Module):
    """Uses its second layer only if it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes, self.both = nn.Linear(4, 3), nn.Linear(4, 3), False

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.always(x)
        return y + self.sometimes(x) if self.both else y


def test_a_layer_that_calibration_does_not_reach_keeps_its_range() -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    model = cimsim.convert(Branched(), "pcm-ibm-2020", learn_ranges="dac")
    model.both = True
    cimsim.calibrate(model, [x])
    model.both = False
    before = [layer.dac_range.item() for layer in analog_layers(model).values()]
    with_noise = cimsim.NoiseAware(model, steps=10, warmup=0.3, calibration=[3 * x])
    for _ in range(5):  # beyond the start of the noise
        with_noise.step()
    always, sometimes = (layer.dac_range.item() for layer in analog_layers(model).values())
    assert always > 2 * before[0]
    assert sometimes == before[1]
    model.both = True
    assert model(x).isfinite().all()
