"""What every part promises: it is described, stays within its budget, is the same for the same
seed, is saved with the model, and leaves a model alone if it fails."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.adaptation import PARTS, chosen_parts, possible_parts
from cimsim.adaptation.part import CELLS
from cimsim.errors import CimsimError
from cimsim.profile import override_profile
from tests.adaptation.examples import error, faulty, inputs, network, programmed
from tests.nn.examples import MODULES, Model, input_of

EVERY = sorted(PARTS.parts)
BUDGET = 6


def batches() -> list[torch.Tensor]:
    return list(inputs().split(32))


def model() -> nn.Module:
    return programmed(faulty(), network(norm=True))


@pytest.mark.parametrize("name", EVERY)
def test_it_is_described_with_its_source(name: str) -> None:
    part = PARTS.part(name)
    text = inspect.getdoc(part) or ""
    assert text.split("\n\n")[0].endswith(".")
    assert "Source" in text
    assert part.title


@pytest.mark.parametrize("name", EVERY)
def test_it_stays_within_its_budget_and_repeats(name: str) -> None:
    first, second = model(), model()
    before = first(inputs())
    result = cimsim.adapt(first, batches(), name, budget=BUDGET)
    (cost,) = result.costs
    assert cost.batches <= BUDGET
    assert cost.vectors <= cost.batches * 32 * 2
    assert (cost.vectors > 0) == (cost.batches > 0)
    assert cost.change.added + cost.change.changed + cost.change.written > 0
    assert result.model is first
    cimsim.adapt(second, batches(), name, budget=BUDGET)
    changed = cimsim.program(first, seed=3)(inputs())
    assert torch.equal(changed, cimsim.program(second, seed=3)(inputs()))
    assert not torch.equal(changed, before)


@pytest.mark.parametrize("name", EVERY)
def test_it_depends_on_teacher_and_seed_as_declared(name: str) -> None:
    labeled = [(x, x.sum(1).mul(7).long() % 5) for x in batches()]

    def outputs(**given: object) -> torch.Tensor:
        adapted = model()
        cimsim.adapt(adapted, labeled, name, budget=BUDGET, **given)  # type: ignore[arg-type]
        return cimsim.program(adapted, seed=3)(inputs())  # type: ignore[no-any-return]

    usual, part = outputs(), PARTS.part(name)
    assert torch.equal(outputs(seed=1), usual) != part.draws
    if part.learns:
        assert not torch.equal(outputs(teacher="labels"), usual)
    else:
        with pytest.raises(CimsimError, match=r"^teacher applies to parts that learn .* only; add"):
            outputs(teacher="labels")


@pytest.mark.parametrize("name", EVERY)
def test_data_that_are_not_finite(name: str) -> None:
    """One number of the third batch is NaN: every part reports the data, and changes nothing."""
    adapted, data = model(), [batch.clone() for batch in batches()]
    data[2][0, 0] = torch.nan
    before = {key: value.clone() for key, value in adapted.state_dict().items()}
    with pytest.raises(CimsimError, match="look for NaN or infinity in the data"):
        cimsim.adapt(adapted, data, name, budget=BUDGET)
    after = adapted.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", EVERY)
def test_batches_without_inputs_are_left_out(name: str) -> None:
    adapted, expected, given = model(), model(), batches()
    empty = given[0][:0]
    result = cimsim.adapt(adapted, [empty, given[0], empty, *given[1:]], name, budget=BUDGET)
    assert result.total["batches"] <= BUDGET
    cimsim.adapt(expected, given, name, budget=BUDGET)
    for one in (adapted, expected):
        cimsim.program(one, seed=3)
    assert torch.equal(adapted(inputs()), expected(inputs()))


@pytest.mark.parametrize("name", EVERY)
def test_a_forward_of_the_user_is_counted_by_batches(name: str) -> None:
    """It calls the model twice for each batch, or only its layers."""

    def twice(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return (network(x) + network(x.flip(0)).flip(0)) / 2  # type: ignore[no-any-return]

    def by_layers(network: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        for layer in network:
            x = layer(x)
        return x

    def used(forward: object) -> dict[str, float]:
        given = {"budget": BUDGET, "forward": forward}
        return cimsim.adapt(model(), batches(), name, **given).total  # type: ignore[arg-type]

    usual = used(None)
    assert used(twice)["batches"] == used(by_layers)["batches"] == usual["batches"]
    assert used(by_layers)["vectors"] == usual["vectors"]


@pytest.mark.parametrize("kind", MODULES)
def test_every_kind_of_layer_can_be_adapted(kind: str) -> None:
    x = input_of(MODULES[kind])
    given = [torch.cat([x * scale for scale in (1.0, 0.5, -1.0, -0.3, 0.8, -0.7)])] * 2
    reference = Model(MODULES[kind])
    adapted = programmed(faulty(), reference, x=given[0])
    before = error(adapted, reference, given[0])
    cimsim.adapt(adapted, given, budget=30)
    assert error(adapted, reference, given[0]) < 0.7 * before


@pytest.mark.parametrize("name", EVERY)
def test_its_result_is_saved_with_the_model(name: str, tmp_path: Path) -> None:
    adapted = model()
    cimsim.adapt(adapted, batches(), name, budget=BUDGET)
    cimsim.save(adapted, tmp_path)
    again = cimsim.load(tmp_path, network(norm=True)).eval()
    assert torch.equal(adapted(inputs()), again(inputs()))
    state = adapted.state_dict()
    assert all(torch.equal(state[key], value) for key, value in again.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("cast", ["before", "after"])
@pytest.mark.parametrize("name", EVERY)
def test_its_result_is_saved_in_every_dtype(
    name: str, cast: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    first = dtype if cast == "before" else torch.float32
    plain = network(norm=True)
    ranges = {"dac.range": {"kind": "learned"}} if name == "outliers" else {}
    profile = override_profile(faulty(), ranges)
    adapted = programmed(profile, plain.to(first), x=inputs().to(first))
    cimsim.adapt(adapted, [batch.to(first) for batch in batches()], name, budget=BUDGET)
    adapted.to(dtype)
    cimsim.save(adapted, tmp_path)
    again = cimsim.load(tmp_path, plain.to(dtype)).eval()
    y, state = adapted(inputs().to(dtype)), adapted.state_dict()
    assert y.isfinite().all()
    assert torch.equal(y, again(inputs().to(dtype)))
    for key, value in again.state_dict().items():
        assert value.dtype == state[key].dtype
        assert torch.equal(value, state[key])
    if name == "fault-mapping":
        assert any(key.endswith("placement.shift") for key in state)
    if name == "outliers":
        assert any(key.endswith("input_gains.clip") for key in state)


@pytest.mark.parametrize("name", EVERY)
def test_a_failure_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted = model()
    expected = copy.deepcopy(adapted)
    original = PARTS.part(name).apply

    def fails(self, bench):  # type: ignore[no-untyped-def]
        original(self, bench)
        raise RuntimeError("made up for a test")

    monkeypatch.setattr(PARTS.part(name), "apply", fails)
    with pytest.raises(RuntimeError, match="made up"):
        cimsim.adapt(adapted, batches(), f"{name}", budget=2)
    assert adapted.state_dict().keys() == expected.state_dict().keys()
    assert torch.equal(adapted(inputs()), expected(inputs()))
    assert all(p.requires_grad for p in adapted.parameters())


def test_all_parts_together_are_better_than_the_chip_as_it_is() -> None:
    reference, adapted = network(norm=True), model()
    before = error(adapted, reference, inputs())
    result = cimsim.adapt(adapted, batches(), "all", budget=60)
    assert [cost.part for cost in result.costs] == list(PARTS.parts)
    assert error(adapted, reference, inputs()) < 0.25 * before
    assert str(result).splitlines()[0].split()[:2] == ["part", "batches"]
    assert result.total["batches"] == sum(cost.batches for cost in result.costs)


def test_the_digital_model_is_what_it_was() -> None:
    """Corrections belong to the chip: computing digitally, the network is as trained."""
    reference, adapted = network(), programmed(faulty())
    cimsim.adapt(adapted, batches(), "fault-mapping, gain-offset, low-rank, sparse", budget=4)
    with cimsim.nn.digital(adapted):
        torch.testing.assert_close(adapted(inputs()), reference(inputs()))


def test_names_for_several_parts() -> None:
    plain = programmed("pcm-ibm-2020")
    assert "batch-norm" not in possible_parts(plain)
    assert "fault-mapping" not in possible_parts(plain)  # it has no faults
    chosen = [part for _, part in chosen_parts(model(), ["digital"])]
    assert not any(CELLS in part.needs for part in chosen)
    own = [spec for spec, _ in chosen_parts(model(), ["affine:lr=0.1", "digital"])]
    assert own == ["ranges", "gain-offset", "batch-norm", "low-rank", "sparse", "affine:lr=0.1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parts": "gain-ofset"}, "did you mean 'gain-offset'"),
        ({"parts": "low-rank:size=3"}, "unknown setting 'size'"),
        ({"parts": "low-rank:rank=0"}, "rank must be 1 or more"),
        ({"parts": "affine,affine"}, "given twice"),
        ({"parts": ""}, "no part was given"),
        ({"parts": "affine:lr=0"}, "lr must be above 0"),
        ({"parts": "ranges:batches=0"}, "batches must be 1 or more"),
        ({"parts": "sparse:share=2"}, "share must be above 0"),
        ({"parts": "batch-norm"}, "has nothing to change in this Sequential: it has no batch norm"),
        ({"parts": "affine", "budget": 0}, "the budget must be 1 batch or more"),
        ({"parts": "affine", "teacher": "nobody"}, "the teacher must be 'digital' or 'labels'"),
        ({"parts": "affine", "teacher": "labels"}, "batch 0 has no labels to learn from"),
        ({"parts": "affine", "loss": torch.nn.functional.mse_loss}, "loss applies to labels only"),
        ({"parts": "affine", "budget": 1.5}, "the budget must be 1 batch or more, not 1.5"),
        ({"parts": "affine", "budget": "3"}, "the budget must be 1 batch or more, not '3'"),
        ({"parts": "affine", "seed": "a"}, "a seed must be an integer, not 'a'"),
        ({"parts": None}, "parts must be text such as 'ranges, low-rank' or a list, not None"),
        ({"parts": "fault-mapping:rounds=-1"}, "rounds must be 0 or more, not -1"),
        ({"parts": "gain-offset:ridge=-1"}, "the ridge of a denoiser must be a number of 0 or"),
        ({"parts": "affine", "loader": []}, "got no batches"),
        ({"parts": "affine", "loader": [inputs()[:0]]}, "got no batches"),
        ({"forward": lambda model, x: model([x])}, "layer '0' expects a tensor, but got a list"),
        ({"parts": "affine", "loader": 3}, "not an iterable of batches"),
        ({"parts": "gain-offset", "loader": [inputs(8)]}, "fewer than 16 vectors for layer"),
        ({"parts": "affine", "chip": 3}, "a chip must be a function"),
        ({"parts": "affine:lr=1e30"}, "train with a smaller learning rate"),
    ],
)
def test_errors(given: dict[str, object], message: str) -> None:
    adapted = programmed(faulty())
    before = adapted(inputs())
    given = {"loader": batches(), **given}
    with pytest.raises(CimsimError, match=message):
        cimsim.adapt(adapted, **given)  # type: ignore[arg-type]
    cimsim.program(adapted, seed=3)
    assert torch.equal(adapted(inputs()), before)


@pytest.mark.parametrize(
    ("labels", "loss", "message"),
    [
        (torch.full((32,), 5), None, "batch 0: label 5 is not a class of a model with 5 outputs"),
        (torch.zeros(32, 1), None, r"batch 0: outputs of shape \[32, 5\] do not fit labels"),
        (torch.zeros(32), lambda y, _: y.mean(1), r"returned the shape \[32\]; return a scalar"),
        (torch.zeros(32), lambda *_: 0.5, "returned float; return a scalar tensor"),
        (torch.zeros(32), lambda y, _: y.detach().sum(), "returned a tensor without a gradient"),
    ],
)
def test_labels_and_losses_that_do_not_fit(
    labels: torch.Tensor, loss: object, message: str
) -> None:
    data = [(batch, labels) for batch in batches()]
    with pytest.raises(CimsimError, match=message):
        cimsim.adapt(model(), data, "affine", teacher="labels", loss=loss)  # type: ignore[arg-type]


def test_integers_of_numpy_and_torch_are_integers() -> None:
    numbers = (2, np.int64(2), torch.tensor(2))
    found = [cimsim.adapt(model(), batches(), "sparse", budget=n, seed=n) for n in numbers]
    assert len({each.recipe.text for each in found}) == 1


def test_models_that_cannot_be_adapted() -> None:
    with pytest.raises(CimsimError, match="convert it first"):
        cimsim.adapt(network(), batches(), "affine")
    uncalibrated = cimsim.convert(network(), "pcm-ibm-2020")
    with pytest.raises(CimsimError, match="calibrate the model"):
        cimsim.adapt(uncalibrated, batches(), "affine")
    ideal = cimsim.convert(network(), "ideal")
    with pytest.raises(CimsimError, match="no stuck cells and no dead lines"):
        cimsim.adapt(ideal, batches(), "fault-mapping")
    with pytest.raises(CimsimError, match="no range that is measured"):
        cimsim.adapt(ideal, batches(), "ranges")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("0.placement.columns", "is not a permutation of 24 lines"),
        ("0.placement.rows", "is not a permutation of 12 lines"),
        ("0.placement.signs", "contains numbers other than 1 and -1"),
        ("0.adapters.sparse.places", "are not all within"),
    ],
)
def test_damaged_files_are_refused(entry: str, message: str, tmp_path: Path) -> None:
    adapted = model()
    cimsim.adapt(adapted, batches(), "fault-mapping, sparse", budget=1)
    adapted.state_dict()[entry].fill_(1000 if "places" in entry else 100)
    cimsim.save(adapted, tmp_path)
    with pytest.raises(CimsimError, match=message):
        cimsim.load(tmp_path, network(norm=True))


def test_sizes_in_a_file_that_do_not_fit(tmp_path: Path) -> None:
    adapted = model()
    cimsim.adapt(adapted, batches(), "low-rank", budget=1)
    cimsim.save(adapted, tmp_path)
    settings = tmp_path / "cimsim.json"
    settings.write_text(settings.read_text().replace('"low-rank": 4', '"low-rank": 99'))
    with pytest.raises(CimsimError, match="the size of its low-rank adapter must be 1 to 12"):
        cimsim.load(tmp_path, network(norm=True))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_is_the_same_where_gradients_are_off(
    name: str, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    """As in a function that evaluates models."""
    adapted, expected = model(), model()
    given = batches()
    with mode():
        cimsim.adapt(adapted, given, name, budget=BUDGET)
    cimsim.adapt(expected, given, name, budget=BUDGET)
    for one in (adapted, expected):
        cimsim.program(one, seed=3)
    assert torch.equal(adapted(inputs()), expected(inputs()))
