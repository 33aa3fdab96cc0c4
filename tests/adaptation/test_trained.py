"""Parts that train: they find what is there to find, and train nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.adaptation.trained import affine_parameters
from cimsim.errors import CimsimError
from cimsim.profile import override_profile
from tests.adaptation.examples import Bench, error, faulty, inputs, network, programmed


def of_rank_one(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    return w + 0.1 * np.outer(draws.normal(size=len(w)), draws.normal(size=w.shape[1]))


def test_low_rank_adapters_undo_an_error_of_their_rank() -> None:
    reference, model = network(), programmed("ideal")
    cimsim.nn.use_chip(model, Bench(model, of_rank_one))
    before = error(model, reference, inputs())
    weights = [p.clone() for p in reference.parameters()]
    result = cimsim.adapt(model, inputs().split(64), "low-rank:rank=1", budget=400)
    assert error(model, reference, inputs()) < 0.2 * before
    assert result.total["added"] == (12 + 24) + (24 + 5)
    assert result.total["batches"] == 400
    now = [p for name, p in model.named_parameters() if "adapters" not in name]
    assert all(map(torch.equal, weights, now))
    again = cimsim.adapt(model, inputs().split(64), "low-rank:rank=1", budget=2)
    assert again.total["added"] == 0
    assert again.total["changed"] == result.total["added"]


def test_sparse_adapters_change_their_share_of_the_weights() -> None:
    model = programmed(faulty())
    result = cimsim.adapt(model, [inputs()], "sparse:share=0.1", budget=3)
    deltas = [layer.adapters["sparse"].delta() for layer in cimsim.analog_layers(model).values()]
    most = [round(0.1 * 12 * 24), round(0.1 * 24 * 5)]
    counts = [int((delta != 0).sum()) for delta in deltas]  # a dead unit has no gradient
    assert all(0.8 * m < count <= m for count, m in zip(counts, most, strict=True))
    assert result.total["added"] == sum(most)


def test_affine_parameters_undo_an_offset() -> None:
    reference, model = network(), programmed("ideal")

    class Shifted(Bench):
        def __call__(self, layer: str, x: torch.Tensor) -> np.ndarray:
            return super().__call__(layer, x) + 0.3

    cimsim.nn.use_chip(model, Shifted(model, lambda w, _: w))
    before = error(model, reference, inputs())
    matrix = model[0].weight.clone()
    result = cimsim.adapt(model, inputs().split(64), "affine", budget=200)
    assert error(model, reference, inputs()) < 0.1 * before
    assert torch.equal(model[0].weight, matrix)
    assert result.total["changed"] == 24 + 5


@pytest.mark.parametrize("form", ["pair", "mapping"])
def test_labels_teach_what_the_digital_model_does_not(form: str) -> None:
    """The labels are those of another network: only with them does the loss to it fall."""
    torch.manual_seed(5)
    other = nn.Linear(12, 5)
    labels = other(inputs()).argmax(1)
    model = programmed(faulty())
    before = float((model(inputs()).argmax(1) == labels).float().mean())
    batch = (inputs(), labels) if form == "pair" else {"input": inputs(), "labels": labels}
    cimsim.adapt(model, [batch], "low-rank", teacher="labels", budget=100)
    after = float((model(inputs()).argmax(1) == labels).float().mean())
    assert after > before + 0.2


def test_a_loss_of_the_user() -> None:
    model, wanted = programmed(faulty()), torch.zeros(256, 5)
    cimsim.adapt(
        model,
        [(inputs(), wanted)],
        "affine",
        teacher="labels",
        loss=lambda outputs, labels: (outputs - labels).abs().mean(),
        budget=300,
    )
    assert model(inputs()).abs().mean() < 0.1


def test_a_language_model_of_hugging_face_learns_the_next_token() -> None:
    """Its labels are its inputs, which it shifts itself: its own loss is used."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    torch.manual_seed(0)
    network = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    tokens = torch.randint(20, (32, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": tokens, "labels": tokens}]
    found = []
    for loss in (None, lambda outputs, y: shifted(outputs.logits, y)):
        model = cimsim.calibrate(cimsim.convert(network, faulty()), data).eval()
        cimsim.program(model, seed=3)
        cimsim.adapt(model, data, "affine", teacher="labels", loss=loss, budget=5)
        found.append(torch.cat([each.flatten() for each in affine_parameters(model)]))
    torch.testing.assert_close(*found)


def shifted(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def test_adapters_of_both_kinds_and_every_layer() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 2, stride=2),
        nn.Flatten(),
    )
    x = torch.rand(32, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    adapted = programmed(faulty(), model, x=x)
    before = error(adapted, model, x)
    result = cimsim.adapt(adapted, [x], "fault-mapping, low-rank, sparse", budget=60)
    assert error(adapted, model, x) < 0.6 * before
    assert result.costs[1].vectors == 60 * 32 * (25 + 25)


def test_fine_tuning_behind_the_chip_leaves_the_first_layer_as_it_is() -> None:
    reference, model = network(), programmed(faulty(0.1))
    first = model[0].weight.clone()
    before = error(model, reference, inputs())
    result = cimsim.adapt(model, inputs().split(64), "chip-in-the-loop:lr=0.005", budget=200)
    assert torch.equal(model[0].weight, first)
    assert not torch.equal(model[2].weight, reference[2].weight)
    assert error(model, reference, inputs()) < 0.6 * before
    assert result.total["batches"] == 200
    assert not model[2].digital


def test_a_weight_on_the_chip_is_not_trained_for_a_later_layer_that_shares_it() -> None:
    network = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Linear(12, 4))
    network[2].weight = network[0].weight
    model = programmed(faulty(), network)
    shared, last = model[0].weight.clone(), model[3].weight.clone()
    cimsim.adapt(model, inputs().split(64), "chip-in-the-loop", budget=20)
    assert model[2].weight is model[0].weight
    assert torch.equal(model[0].weight, shared)
    assert not torch.equal(model[3].weight, last)


def test_the_chip_in_the_loop_is_fresh_and_ages_afterwards() -> None:
    ages: list[float] = []
    model = cimsim.age(programmed(faulty()), "1 day")
    layer = model[0]
    handle = layer.register_forward_pre_hook(lambda *_: ages.append(layer.age_s))
    cimsim.adapt(model, [inputs()], "chip-in-the-loop", budget=4)
    handle.remove()
    assert set(ages[1:]) == {0.0}
    assert layer.age_s == 86400.0


def test_a_summary_lists_adapters() -> None:
    model = programmed(faulty())
    cimsim.adapt(model, [inputs()], "sparse, low-rank", budget=1)
    lines = str(cimsim.summary(model)).splitlines()
    assert sum("digital: an adapter of the layer" in line for line in lines) == 4


def test_affine_parameters_are_neither_quantizers_nor_ranges() -> None:
    learned = override_profile(faulty(), {"adc.range": {"kind": "learned"}})
    model = cimsim.convert(network(norm=True), learned, quantize_weights="lsq")
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = sorted(names[id(p)] for p in affine_parameters(model))
    assert chosen == ["0.bias", "1.bias", "1.weight", "3.bias"]


def test_parameters_that_layers_share_are_trained_once() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
    model[2].bias = model[0].bias
    result = cimsim.adapt(programmed(faulty(), model), [inputs()], "affine", budget=1)
    assert result.total["changed"] == 12


def test_labels_of_every_kind() -> None:
    """Whole numbers of any dtype are classes, and a batch in which all are ignored does nothing."""
    classes = (inputs().sum(1) * 7).long() % 5
    ignored = torch.full((256,), -100)
    expected = programmed(faulty())
    cimsim.adapt(expected, [(inputs(), classes)], "affine", teacher="labels", budget=3)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        model = programmed(faulty())
        data = [(inputs(), classes.to(dtype))]
        cimsim.adapt(model, data, "affine", teacher="labels", budget=3)
        assert torch.equal(model[0].bias, expected[0].bias)
    model = programmed(faulty())
    bias = model[0].bias.clone()
    cimsim.adapt(model, [(inputs(), ignored)], "affine", teacher="labels", budget=3)
    assert torch.equal(model[0].bias, bias)


def adapted_error(part: str, dtype: torch.dtype, count: int) -> float:
    """The error after an adaptation in ``dtype`` of a model that has seen ``count`` inputs."""
    reference, x = network(norm=True), inputs(count)
    model = programmed(faulty(), network(norm=True).to(dtype), x=x.to(dtype))
    cimsim.adapt(model, x.to(dtype).split(count // 8), part, budget=40)
    return error(model.float(), reference, x)


@pytest.mark.parametrize("part", ["low-rank", "sparse", "affine", "chip-in-the-loop"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [256, 40000])
def test_training_in_half_precision_is_as_good(part: str, dtype: torch.dtype, count: int) -> None:
    """With many inputs the sum of squares overflows float16, and the gradients underflow."""
    assert adapted_error(part, dtype, count) < 1.1 * adapted_error(part, torch.float32, count)


def test_updates_smaller_than_a_step_in_bf16_add_up() -> None:
    model = programmed(faulty(), network().bfloat16(), x=inputs().bfloat16())
    bias = model[0].bias
    with torch.no_grad():
        bias.fill_(1.0)
    cimsim.adapt(model, [inputs().bfloat16()], "affine:lr=0.0005", budget=60)
    assert (bias != 1.0).float().mean() > 0.5


@pytest.mark.parametrize(
    ("dtype", "loss", "message"),
    [
        (torch.float32, lambda y, _: y.sum() * torch.nan, "nan at step 1; nothing was trained"),
        (torch.float16, lambda y, _: (0 * y).sqrt().sum(), "gradients are not finite in float16"),
    ],
)
def test_what_cannot_be_trained_is_not_a_matter_of_the_learning_rate(
    dtype: torch.dtype, loss: Callable[..., torch.Tensor], message: str
) -> None:
    x = inputs().to(dtype)
    model = programmed(faulty(), network().to(dtype), x=x)
    data = [(batch, batch) for batch in x.split(16)]
    with pytest.raises(CimsimError, match=message):
        cimsim.adapt(model, data, "affine", teacher="labels", loss=loss)
