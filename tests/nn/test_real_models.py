"""Networks that people have: ResNet-18, GPT-2, a vision transformer, an LSTM."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.training.models import build_model
from cimsim.training.models.resnet import ProjectedBlock
from cimsim.training.models.vit import ViT


def gpt2() -> tuple[nn.Module, Tensor]:
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 16}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, use_cache=False)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = transformers.GPT2LMHeadModel(config)

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.inner(tokens).logits
            return logits

    return Logits(), torch.arange(24).view(2, 12)


def of_images(name: str, size: int) -> Callable[[], tuple[nn.Module, Tensor]]:
    def make() -> tuple[nn.Module, Tensor]:
        return build_model(name, (3, size, size), 10, 0), torch.randn(4, 3, size, size)

    return make


def two_stages() -> tuple[nn.Module, Tensor]:
    """Each kind of block of a ResNet-18 once: to trace takes as long for each copy."""
    stages = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), ProjectedBlock(8, 8, 1), ProjectedBlock(8, 16, 2)
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return nn.Sequential(stages, head), torch.randn(4, 3, 16, 16)


def two_blocks() -> tuple[nn.Module, Tensor]:
    """A vision transformer of two blocks."""
    return ViT((3, 16, 16), 10, width=32, heads=4, depth=2), torch.randn(4, 3, 16, 16)


MODELS = {
    "resnet18": of_images("resnet18", 16),
    "vit": of_images("vit", 16),
    "lstm": of_images("lstm", 8),
    "gpt2": gpt2,
}
TRACED = {"resnet": two_stages, "vit": two_blocks, "gpt2": gpt2}


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    found: tuple[nn.Module, Tensor] = request.param()
    return found


def test_a_training_step_and_its_state(case: tuple[nn.Module, Tensor]) -> None:
    model, x = case
    analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x])
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.01)
    analog.train()(x).square().mean().backward()
    for name, parameter in analog.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    optimizer.step()
    twin = cimsim.convert(model, "pcm-ibm-2020")
    twin.load_state_dict(analog.state_dict())
    for one in (analog, twin):
        cimsim.age(cimsim.program(one.eval(), 5), "1d")
    with torch.no_grad():
        assert torch.equal(twin(x), analog(x))
    back = cimsim.to_digital(analog)
    assert list(back.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("make", TRACED.values(), ids=list(TRACED))
def test_compiled_it_gives_the_same(make: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    """Not of the LSTM: a recurrence on one chip is not traced."""
    torch.manual_seed(0)
    model, x = make()
    analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x]).eval()
    cimsim.program(analog, 2)
    with torch.no_grad():
        expected = analog(x)
        cimsim.program(analog, 2)
        compiled = torch.compile(analog, backend="aot_eager")
        torch.testing.assert_close(compiled(x), expected)
    loss = torch.compile(analog.train(), backend="aot_eager")(x).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in analog.parameters())
