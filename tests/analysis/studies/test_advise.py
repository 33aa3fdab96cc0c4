"""Mixed assignments, where the right one is known."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.studies.advise import Advice, advise
from cimsim.analysis.studies.sensitivity import LayerSensitivity, Sensitivity
from cimsim.analysis.study import Facts
from cimsim.analysis.subjects import ModelSubject, Subject
from cimsim.analysis.sweeps.engine import LocalEngine, Task
from cimsim.analysis.sweeps.metric import Scores
from cimsim.analysis.sweeps.stats import summary
from cimsim.errors import CimsimError
from cimsim.layer_options import parse_layers
from cimsim.nn import Assignment, profiles
from cimsim.profile import load_profile
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.run import Run

PCM = load_profile("pcm-ibm-2020")
Law = Callable[[dict[str, str], int], float]


class Made(LocalEngine):
    """An engine that computes nothing: ``law`` is the loss, from how each layer is computed
    (``analog``, ``finer``, ``other`` or ``digital``) and the chip."""

    def __init__(self, law: Law, shares: Mapping[str, float]) -> None:
        self.law, self.shares, self.chips = law, shares, list[int]()
        net = nn.Sequential()
        for name in shares:
            net.add_module(name, nn.Linear(4, 4))
        self.subject = ModelSubject(cimsim.convert(net, PCM), self._right, metric="accuracy")

    def _right(self, model: nn.Module) -> dict[str, float]:
        return {"accuracy": 1.0}  # of the digital model

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        for number, task in enumerate(tasks):
            self.chips.append(task.chip)
            yield number, {"accuracy": 1 - self.law(self._kinds(task.assignment), task.chip)}

    def _kinds(self, on: Assignment) -> dict[str, str]:
        def kind(name: str) -> str:
            profile = on.on(name)
            if profile is None:
                return "digital"
            if profile.name != PCM.name:
                return "other"
            assert profile.adc.bits is not None
            return "finer" if profile.adc.bits == PCM.adc.bits + 2 else "analog"

        return {name: kind(name) for name in self.shares}

    def advice(self, **settings: Any) -> Advice:
        """Advice on four chips, of a sensitivity as it would be measured."""
        evaluation = Evaluation(4, engine=self, metric="accuracy")
        return advise(self.subject, evaluation, measured=self.measured, **settings)

    @property
    def measured(self) -> Sensitivity:
        digital = dict.fromkeys(self.shares, "digital")

        def layer(name: str) -> LayerSensitivity:
            lost = summary(name, [self.law({**digital, name: "analog"}, chip) for chip in range(4)])
            rest = (lost, lost, lost, lost)
            return LayerSensitivity(
                name, "Linear", "pcm", 100, self.shares[name], 1, 0.5, 20.0, 0.0, 0.0, *rest
            )

        facts = Facts("made", "pcm", 1.0, "", "", 4, 0.0, "accuracy", "", 1.0)
        nothing = summary("nothing", [1.0] * 4)
        return Sensitivity(facts, nothing, nothing, tuple(map(layer, self.shares)))


def adding(**costs: float) -> Law:
    """Each analog layer loses its share; more bits take back a tenth of it, another device half."""
    left = {"analog": 1.0, "finer": 0.9, "other": 0.5, "digital": 0.0}
    return lambda kinds, _: sum(costs[name] * left[kind] for name, kind in kinds.items())


def test_the_cheapest_layer_that_helps_most_becomes_digital() -> None:
    made = Made(adding(a=0.1, b=0.1, c=0.01), {"a": 0.1, "b": 0.8, "c": 0.1})
    found = made.advice(within=0.12)
    assert found.layers == {"a": {"digital": True}}
    assert found.layer_options == ["a:digital"]
    assert found.reached
    assert found.holds
    assert found.cost == found.digital_share == pytest.approx(0.1)
    assert found.before.mean == pytest.approx(0.21)
    assert found.chosen.mean == found.verified.mean == pytest.approx(0.11)


def test_more_bits_come_first_where_they_are_enough() -> None:
    def law(kinds: dict[str, str], chip: int) -> float:
        return 0.3 if kinds["a"] == "analog" else 0.0

    made = Made(law, {"a": 0.5, "b": 0.5})
    finer = {"adc.bits": 10, "dac.bits": 10}
    assert made.advice(within=0.01).layers == {"a": finer}
    assert made.advice(within=0.01, bits=0).layers == {"a": {"digital": True}}


def test_another_device_is_taken_where_it_is_enough() -> None:
    made = Made(adding(a=0.2, b=0.0), {"a": 0.9, "b": 0.1})
    found = made.advice(within=0.1, better="ideal")
    assert found.layers == {"a": {"profile": "ideal"}}
    assert found.cost == pytest.approx(0.45)


def test_what_turns_out_not_to_be_needed_is_taken_back() -> None:
    def law(kinds: dict[str, str], chip: int) -> float:
        lost = {"a": 0.02, "b": 0.1}  # a is cheap and gains most for its cost, but b is needed
        return sum(lost[n] for n, kind in kinds.items() if n in lost and kind != "digital")

    made = Made(law, {"a": 0.01, "b": 0.5, "c": 0.49})
    found = made.advice(within=0.05)
    tried = [set(step.layers) for step in found.steps]
    assert {"a", "b"} in tried
    assert found.layers == {"b": {"digital": True}}


def test_nothing_to_do() -> None:
    made = Made(adding(a=0.001, b=0.001), {"a": 0.5, "b": 0.5})
    found = made.advice(within=0.01)
    assert found.layers == {}
    assert found.holds


def test_a_loss_of_exactly_the_allowed_distance_is_allowed() -> None:
    """1 - 0.97 is 0.030000000000000027."""
    found = Made(adding(a=0.03, b=0.0), {"a": 0.5, "b": 0.5}).advice(within=0.03)
    assert found.layers == {}
    assert found.chosen.mean > 0.03
    assert found.answer.startswith("Reached: 3.00 ± 0.00 points lost")
    assert "interval" not in found.answer
    chance = Made(lambda kinds, chip: (-1) ** chip / 1000, {"a": 0.5, "b": 0.5})
    assert chance.advice(within=0.0).reached


def test_one_chip_has_no_interval_to_be_within() -> None:
    made = Made(adding(a=0.001, b=0.001), {"a": 0.5, "b": 0.5})
    found = made.advice(within=0.01)
    assert found.answer.endswith("become digital.")
    one = replace(found, verified=summary(None, [0.002]))
    assert one.answer.endswith("; one chip has no interval, use more --chips.")
    wide = replace(found, verified=summary(None, [0.0, 0.01]))
    assert wide.answer.endswith("; the interval is wider than that, use more --chips.")


def test_what_cannot_be_reached_is_said_and_the_nearest_is_named() -> None:
    made = Made(adding(a=0.2, b=0.3), {"a": 0.5, "b": 0.5})
    found = made.advice(within=0.01)
    assert not found.reached
    assert not found.holds
    assert found.layers["b"] == {"digital": True}
    assert "digital" not in found.layers.get("a", {})  # a layer stays on the chip
    assert found.chosen.mean == min(step.lost.mean for step in found.steps)


def test_the_only_layer_stays_on_the_chip() -> None:
    made = Made(adding(a=0.2), {"a": 1.0})
    found = made.advice(within=0.19)
    assert found.layers == {"a": {"adc.bits": 10, "dac.bits": 10}}
    assert not made.advice(within=0.1).reached


def test_layers_that_only_help_together_are_found() -> None:
    def law(kinds: dict[str, str], chip: int) -> float:
        return 0.0 if kinds["a"] == kinds["b"] == "digital" else 0.4

    made = Made(law, {"a": 0.3, "b": 0.3, "c": 0.4})
    assert set(made.advice(within=0.1).layers) == {"a", "b"}


def test_what_may_be_chance_does_not_count() -> None:
    def law(kinds: dict[str, str], chip: int) -> float:
        luck = (0.2, -0.1, -0.1, 0.1)[chip % 4] if kinds["a"] == "finer" else 0.0
        return 0.3 - luck if kinds["b"] != "digital" else 0.0

    made = Made(law, {"a": 0.1, "b": 0.9})
    found = made.advice(within=0.1)
    assert found.layers == {"b": {"digital": True}}
    assert [set(step.layers) for step in found.steps[:2]] == [set(), {"b"}]


def test_it_is_verified_on_chips_it_was_not_chosen_on() -> None:
    def law(kinds: dict[str, str], chip: int) -> float:
        return 0.5 if kinds["a"] == "analog" or (chip >= 4 and kinds["b"] == "analog") else 0.0

    made = Made(law, {"a": 0.5, "b": 0.5})
    found = made.advice(within=0.1, bits=0)
    assert found.reached  # making a digital was enough on chips 0 to 3
    assert found.verified.mean == 0.5
    assert not found.holds
    assert set(made.chips[:-12]) == set(range(4))
    assert set(made.chips[-12:]) == set(range(4, 8))  # each under three assignments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"within": -0.01}, "from 0 to 100 points, not -1"),
        ({"within": float("nan")}, "from 0 to 100 points, not nan"),
        ({"within": 0.1, "bits": -2}, "0 or more, not -2"),
        ({"within": 0.1, "better": "pcm-ibm-2021"}, "did you mean 'pcm-ibm-2020'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, float], message: str) -> None:
    made = Made(adding(a=0.2), {"a": 1.0})
    with pytest.raises(CimsimError, match=message):
        made.advice(**settings)
    assert made.chips == []


def test_orders_are_what_convert_and_the_commands_take() -> None:
    made = Made(adding(a=0.1, b=0.1), {"a": 0.1, "b": 0.9})
    found = made.advice(within=0.11)
    assert parse_layers(found.layer_options) == found.layers == {"a": {"digital": True}}
    config = make_config(
        profile="pcm-ibm-2020", overrides=("adc.bits=6",), layer=("b:rule=C", "a:rule=E")
    )
    net = nn.Sequential()
    net.add_module("a", nn.Linear(4, 4))
    net.add_module("b", nn.Linear(4, 2))
    scope = {"cimsim": cimsim, "model": net}
    subject = RunSubject(Run(Path("run"), config, PCM, {}, {}))
    exec(subject.convert_call(found.layers), scope)
    model = scope["model"]
    assert type(model.a) is nn.Linear
    assert (model.b.profile.adc.bits, model.b.rule.letter) == (6, "C")


def test_a_real_model() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).requires_grad_(False)
    x = torch.randn(600, 16)
    batches = [(x[:400], net(x[:400]).argmax(-1))]
    coarse = load_profile("ideal", ["dac.bits=2", "adc.bits=2"])
    fine = load_profile("ideal", ["dac.bits=8", "adc.bits=8"])
    model = cimsim.convert(net, fine, layers={"0": {"profile": coarse}})
    cimsim.calibrate(model, [x[400:]])
    subject = ModelSubject(model, batches, calibration=[x[400:]])
    found = advise(subject, Evaluation(2), within=0.03, bits=6)
    assert found.layers == {"0": {"adc.bits": 8, "dac.bits": 8}}
    assert found.holds
    assert found.before.mean > 0.1
    with pytest.raises(
        CimsimError, match=r"layer '0' .* needs new converter ranges .* as calibration=…"
    ):
        advise(ModelSubject(model, batches), Evaluation(2), within=0.03, bits=6)


@pytest.mark.parametrize("profile", [None, "reram-wan-2022"])
def test_the_call_in_python_puts_a_model_on_its_profiles(profile: str | None) -> None:
    """With overridden values, a layer with a profile of its own, and one that is digital."""
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    device = load_profile("pcm-ibm-2020", ["adc.bits=6", "cell.read_noise=[]"])
    layers: dict[str, dict[str, Any]] = {
        "1": {"profile": "pcm-hermes-2023", "dac.bits": 4},
        "2": {"dac.bits": 5},
        "3": {"profile": "pcm-ibm-2020"},
    }
    model = cimsim.convert(copy.deepcopy(net), device, layers=layers, keep_digital=["4"])
    subject = ModelSubject(model, lambda _: 1.0)
    on = None if profile is None else Assignment(load_profile(profile, ["array.rows=64"]))
    change = {"0": {"adc.bits": 9}, "1": {"digital": True}, "2": {"adc.bits": 8}}
    names: dict[str, Any] = {"cimsim": cimsim, "model": copy.deepcopy(net)}
    exec(subject.convert_call(change, on), names)
    if on is None:
        layers |= {
            "0": {"adc.bits": 9},
            "1": {"digital": True},
            "2": {"dac.bits": 5, "adc.bits": 8},
        }
    else:
        device, layers = on.profile, change
    expected = cimsim.convert(net, device, layers=layers, keep_digital=["4"])
    assert profiles(names["model"]).facts() == profiles(expected).facts()
