"""Arms, their runs, and what a comparison says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from cimsim.runs.compare import Arm, compare, markdown, named_arms, over_seeds, read_arms
from cimsim.training.config import TrainConfig
from cimsim.training.progress import Progress, Silent

COMMON = {"profile": "pcm-ibm-2020", "epochs": 1, "batch_size": 512}
AXIS = parse_axis("noise=0,4")


class Watch:
    """Counts what is trained."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, config: TrainConfig) -> Progress:
        self.names.append(name)
        return Silent()


def test_names_become_settings() -> None:
    arms = named_arms("digital, robust+epochs=3, noise-aware+rule=C+noise=3 ")
    assert [arm.settings for arm in arms] == [
        {"method": "digital"},
        {"recipe": "robust", "epochs": "3"},
        {"method": "noise-aware", "rule": "C", "noise": "3"},
    ]
    (arm,) = named_arms("noise-aware+objective=lotion:bits=3,weight=2")
    assert arm.settings["objective"] == ("lotion:bits=3,weight=2",)
    (arm,) = named_arms("noise-aware+learn_ranges=adc")
    assert arm.settings["learn_ranges"] == ("adc",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("digtal", "unknown method or recipe 'digtal'; did you mean 'digital'"),
        ("digital+rule", "write 'rule=VALUE'"),
        ("digital+seed=3", "seeds are the same for all arms"),
        ("digital,digital", "two arms are called 'digital'"),
        (",", "there is nothing to compare"),
    ],
)
def test_bad_names_are_told(names: str, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        named_arms(names)


def test_arms_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text("loud: {noise: 4}\nlotion:\n  objective: ['lotion:bits=3']\n")
    assert read_arms(file) == [
        Arm("loud", {"noise": 4}),
        Arm("lotion", {"objective": ["lotion:bits=3"]}),
    ]
    for text in ("- a\n", "a: 3\n", "{"):
        file.write_text(text)
        with pytest.raises(CimsimError, match=r"arms\.yaml"):
            read_arms(file)
    with pytest.raises(CimsimError, match="cannot be read"):
        read_arms(tmp_path / "none.yaml")


def test_a_method_without_converters_ignores_ranges_that_all_arms_learn(tmp_path: Path) -> None:
    arms = named_arms("digital, noise-aware")
    common = {**COMMON, "limit": 100, "learn_ranges": ("dac",), "noise": 2.0}
    notes = Watch()
    outcomes = compare(arms, common, AXIS, out=tmp_path, chips=1, samples=20, watch=notes)
    assert [o.runs[0].config.learn_ranges for o in outcomes] == [None, ("dac",)]
    with pytest.raises(CimsimError, match="method 'digital' does not simulate the converters"):
        compare(named_arms("digital+learn_ranges=dac"), COMMON, AXIS, out=tmp_path, watch=notes)


def test_nothing_is_trained_where_an_arm_makes_no_sense(tmp_path: Path) -> None:
    watch = Watch()
    arms = [Arm("fine", {}), Arm("not", {"noise": -1})]
    with pytest.raises(CimsimError, match="noise: Input should be greater"):
        compare(arms, COMMON, AXIS, out=tmp_path, watch=watch)
    with pytest.raises(CimsimError):
        compare([Arm("fine", {})], COMMON, parse_axis("adc.bit=3"), out=tmp_path, watch=watch)
    arms = [Arm("fine", {}), Arm("not", {"quantize_weights": "nope"})]
    with pytest.raises(CimsimError, match="unknown quantizer"):
        compare(arms, COMMON, AXIS, out=tmp_path, watch=watch)
    with pytest.raises(CimsimError, match="a training seed is listed twice"):
        compare([Arm("fine", {})], COMMON, AXIS, out=tmp_path, seeds=(0, 0), watch=watch)
    assert watch.names == []
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_under_torchrun_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(CimsimError, match=r"a comparison runs in one process, but .* describe 2"):
        compare([Arm("fine", {})], COMMON, AXIS, out=tmp_path, watch=Watch())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", ["two", "0", "-1", ""])
def test_a_bad_number_of_processes_is_named(
    count: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(CimsimError, match=f"WORLD_SIZE is '{count}', not a number of processes"):
        compare([Arm("fine", {})], COMMON, AXIS, out=tmp_path, watch=Watch())


def test_arms_and_seeds_are_added_to_what_is_there(tmp_path: Path) -> None:
    arms = named_arms("digital,noise-aware")
    (first,) = compare(arms[:1], COMMON, AXIS, out=tmp_path, chips=2, watch=Watch())
    stamp = (tmp_path / "digital/seed-0/model.safetensors").stat().st_mtime_ns
    both = compare(arms, COMMON, AXIS, out=tmp_path, chips=2, seeds=(0, 1), watch=Watch())
    assert (tmp_path / "digital/seed-0/model.safetensors").stat().st_mtime_ns == stamp
    assert [o.arm.name for o in both] == ["digital", "noise-aware"]
    assert [r.config.seed for r in both[0].runs] == [0, 1]
    assert both[0].sweeps[0].trials == first.sweeps[0].trials
    assert [point.chips for point in both[0].points] == [4, 4]
    table = markdown(both, AXIS)
    assert len(table) == 4
    assert all(line.count("|") == table[0].count("|") for line in table)
    assert sum(line.count("**") for line in table) >= 4


def test_all_are_evaluated_on_one_device_whatever_they_trained_on(tmp_path: Path) -> None:
    arms = [Arm("own", {"method": "digital"}), Arm("other", {"profile": "mismatch"})]
    outcomes = compare(arms, COMMON, AXIS, out=tmp_path, chips=1, watch=Watch())
    assert {s.plan.profile for o in outcomes for s in o.sweeps} == {"pcm-ibm-2020"}
    on = load_profile("generic-gaussian")
    outcomes = compare(arms, COMMON, AXIS, out=tmp_path, chips=1, on=on, watch=Watch())
    assert {s.plan.profile for o in outcomes for s in o.sweeps} == {"generic-gaussian"}


def test_chips_are_evaluated_on_as_many_samples_as_are_wanted(tmp_path: Path) -> None:
    arms = [Arm("digital", {"method": "digital"})]
    (few,) = compare(arms, COMMON, AXIS, out=tmp_path, chips=1, samples=3, watch=Watch())
    assert {round(3 * cell.scores["accuracy"], 9) for cell in few.sweeps[0].trials} <= {0, 1, 2, 3}
    (every,) = compare(arms, COMMON, AXIS, out=tmp_path, chips=1, watch=Watch())
    assert {round(360 * cell.scores["accuracy"], 9) % 1 for cell in every.sweeps[0].trials} == {0}
    assert every.sweeps[0].trials[0].scores["loss"] != few.sweeps[0].trials[0].scores["loss"]


def test_layers_of_all_arms_are_on_the_same_devices(tmp_path: Path) -> None:
    layer = ("classifier:digital", "hidden1:profile=generic-gaussian")
    arms = [
        Arm("digital", {"method": "digital"}),
        Arm("aware", {"method": "noise-aware"}),
        Arm("less", {"method": "digital", "layer": ("hidden*:digital",)}),
    ]
    outcomes = compare(
        arms,
        {**COMMON, "layer": layer},
        parse_axis("noise=2"),
        out=tmp_path,
        chips=1,
        watch=Watch(),
    )
    names = [outcome.sweeps[0].plan.profile for outcome in outcomes]
    both = "pcm-ibm-2020 + generic-gaussian"
    assert names == [both, both, "pcm-ibm-2020"]


def test_the_error_is_that_over_seeds_where_it_is_larger(tmp_path: Path) -> None:
    outcomes = compare(
        named_arms("digital"), COMMON, AXIS, out=tmp_path, chips=2, seeds=(0, 1, 2), watch=Watch()
    )
    points = over_seeds(outcomes[0].sweeps)
    means = [sweep.values()[0] for sweep in outcomes[0].sweeps]
    each = [sum(m) / len(m) for m in means]
    center = sum(each) / 3
    error = (sum((e - center) ** 2 for e in each) / 2) ** 0.5 / 3**0.5
    assert points[0].standard_error == pytest.approx(error)
