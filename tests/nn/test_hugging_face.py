"""A GPT-2 of Hugging Face's, on a chip."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import cimsim
from cimsim.nn import analog_layers

transformers = pytest.importorskip("transformers")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 16}
    config = transformers.GPT2Config(
        **sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"
    )
    found: nn.Module = transformers.GPT2LMHeadModel(config).eval()
    return found


TOKENS = torch.arange(24).view(2, 12)


def test_on_an_ideal_device_it_is_the_digital_model(model: nn.Module) -> None:
    analog = cimsim.convert(model, "ideal")
    assert len(analog_layers(analog)) == 2 * 4 + 1
    for one in (model, analog):
        one(TOKENS, labels=TOKENS).loss.backward()
    with torch.no_grad():
        torch.testing.assert_close(analog(TOKENS).logits, model(TOKENS).logits)
    for p, q in zip(analog.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4)


def test_the_head_stays_tied_to_the_embedding(model: nn.Module) -> None:
    analog = cimsim.convert(model, "ideal")
    assert analog.lm_head.weight is analog.transformer.wte.weight


def test_it_trains_generates_and_keeps_its_state(model: nn.Module) -> None:
    analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [TOKENS])
    optimizer = torch.optim.AdamW(analog.parameters(), lr=1e-3)
    analog.train()
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = analog(TOKENS, labels=TOKENS).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    analog.eval()
    cimsim.program(analog, 3)
    text = analog.generate(TOKENS[:1, :4], max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert text.shape == (1, 8)
    for again in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog))):
        again.load_state_dict(analog.state_dict())
    analog.load_state_dict(model.state_dict())
    back = cimsim.to_digital(analog)
    assert list(back.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)


def test_weight_clipping_and_quantizers_see_outputs_first(model: nn.Module) -> None:
    from cimsim.training.clipping import clip_weights

    analog = cimsim.convert(model, "ideal", quantize_weights="uniform:bits=2")
    layer = analog_layers(analog)["transformer.h.0.mlp.c_fc"]
    assert layer.weight.shape == (32, 128)
    assert layer.effective_weight().shape == (128, 32)
    assert all(len(row.unique()) <= 3 for row in layer.effective_weight())
    before = layer.weight.detach().clone()
    clip_weights(analog, 1.5)
    bound = 1.5 * before.square().mean(0).sqrt()  # of every column
    torch.testing.assert_close(layer.weight.detach(), before.clamp(-bound, bound))


def test_seven_billion_parameters_need_no_memory() -> None:
    config = transformers.GPT2Config(n_layer=32, n_embd=4096, n_head=32, vocab_size=50257)
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config)
    analog = cimsim.convert(model, "pcm-ibm-2020")
    assert all(t.device.type == "meta" for t in [*analog.parameters(), *analog.buffers()])
    found = cimsim.summary(analog)
    assert found.parameters > 6.6e9
    assert found.cells == 2 * sum(layer.weight.numel() for layer in analog_layers(analog).values())
