from __future__ import annotations

import pytest
import torch
from torch import nn

from cimsim.errors import CimsimError
from cimsim.training.models import MODELS, build_model

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
OF_IMAGES = [name for name in MODELS if name != "gpt"]


def shape_for(spec: str) -> tuple[int, ...]:
    return (16,) if spec == "gpt" else (1, 8, 8)


@pytest.mark.parametrize("spec", ["gpt", "lstm"])
def test_text_is_read_at_every_position_and_not_from_the_future(spec: str) -> None:
    model = build_model(spec, (16,), classes=7, seed=0).eval()
    x = torch.randint(7, (3, 16), generator=torch.Generator().manual_seed(0))
    logits = model(x)
    assert logits.shape == (3, 16, 7)
    later = x.clone()
    later[:, 10:] = (later[:, 10:] + 1) % 7
    assert torch.equal(model(later)[:, :10], logits[:, :10])
    assert not torch.equal(model(later)[:, 10:], logits[:, 10:])


@pytest.mark.parametrize(("spec", "shape"), [("gpt", (1, 8, 8)), ("mlp", (16,))])
def test_text_and_images_are_not_mixed_up(spec: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        CimsimError, match=f"model '{spec}' is for .*, but the data are .*choose --model"
    ):
        build_model(spec, shape, classes=7, seed=0)


@pytest.mark.parametrize("spec", OF_IMAGES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_model_takes_every_data_set(spec: str, shape: tuple[int, int, int]) -> None:
    model = build_model(spec, shape, classes=7, seed=0)
    logits = model(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("spec", MODELS)
def test_the_seed_alone_decides_the_weights(spec: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = build_model(spec, shape_for(spec), classes=10, seed=seed)
        return nn.utils.parameters_to_vector(model.parameters())

    first = weights(seed=1)
    torch.manual_seed(123)
    assert torch.equal(weights(seed=1), first)
    assert not torch.equal(weights(seed=2), first)


@pytest.mark.parametrize("spec", [*MODELS, "no-such-model"])
def test_the_global_random_state_is_left_alone(spec: str) -> None:
    before = torch.get_rng_state()
    if spec in MODELS:
        build_model(spec, shape_for(spec), classes=10, seed=0)
    else:
        with pytest.raises(CimsimError):
            build_model(spec, (1, 8, 8), classes=10, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("resnet-20", "unknown model 'resnet-20'; did you mean 'resnet20'?"),
        (
            "transformer",
            "available: mlp, cnn, resnet20, resnet32, resnet18, vit, stochastic-binary, lstm, "
            "gpt, package.module:function",
        ),
    ],
)
def test_an_unknown_model_suggests_or_lists(spec: str, told: str) -> None:
    with pytest.raises(CimsimError) as error:
        build_model(spec, (1, 8, 8), classes=10, seed=0)
    assert told in str(error.value)
