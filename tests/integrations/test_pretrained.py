"""Small networks of Hugging Face: BERT, GPT-2, ViT and T5 with batches as its loaders give them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis import Evaluation, ModelSubject, sensitivity
from cimsim.nn import analog_layers
from cimsim.nn.scoring import evaluate_batches

hf = pytest.importorskip("transformers", reason="needs transformers")

IDS = torch.randint(2, 40, (2, 12), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(IDS)
MASK[1, 8:] = 0
CLASSES = torch.tensor([0, 1])
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}


def bert() -> nn.Module:
    config = hf.BertConfig(**SMALL, intermediate_size=64, vocab_size=50, max_position_embeddings=16)
    model: nn.Module = hf.BertForSequenceClassification(config)
    return model


def gpt2() -> nn.Module:
    sizes = {"n_layer": 1, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 16}
    config = hf.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM")
    model: nn.Module = hf.GPT2LMHeadModel(config)
    return model


def vit() -> nn.Module:
    config = hf.ViTConfig(**SMALL, intermediate_size=64, image_size=16, patch_size=4)
    model: nn.Module = hf.ViTForImageClassification(config)
    return model


def t5() -> nn.Module:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    model: nn.Module = hf.T5ForConditionalGeneration(
        hf.T5Config(**sizes, vocab_size=50, decoder_start_token_id=0)
    )
    return model


TEXT = {"input_ids": IDS, "attention_mask": MASK}
MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Tensor]]] = {
    "BERT": (bert, {**TEXT, "labels": CLASSES}),
    "GPT-2": (gpt2, {**TEXT, "labels": IDS}),
    "ViT": (vit, {"pixel_values": torch.ones(2, 3, 16, 16), "labels": CLASSES}),
    "T5": (t5, {**TEXT, "labels": IDS}),
}


@pytest.mark.parametrize("kind", MODELS)
def test_dict_batches_go_everywhere(kind: str, tmp_path: Path) -> None:
    build, batch = MODELS[kind]
    torch.manual_seed(0)
    plain = build().eval()
    model = cimsim.calibrate(cimsim.convert(plain, "pcm-ibm-2020"), [batch])
    assert all(layer.calibrated for layer in analog_layers(model).values())
    cimsim.age(cimsim.program(model, 2), "1 h")
    with torch.no_grad():
        loss, digital = model(**batch).loss, plain(**batch).loss
    assert loss.isfinite()
    assert not torch.equal(loss, digital)
    model.save_pretrained(tmp_path)
    for one in (model, again := cimsim.load(tmp_path)):
        cimsim.age(cimsim.program(one, 2), "1 h")
    with torch.no_grad():
        assert torch.equal(again(**batch).loss, model(**batch).loss)


def test_a_model_output_is_scored() -> None:
    torch.manual_seed(0)
    model = cimsim.convert(bert().eval(), "ideal")
    found = evaluate_batches(model, [((IDS, MASK), CLASSES)])
    with torch.no_grad():
        logits = model(IDS, MASK).logits
    assert found.accuracy == (logits.argmax(1) == CLASSES).double().mean().item()
    subject = ModelSubject(
        cimsim.convert(bert().eval(), "ideal", only=lambda name, _: "dense" in name),
        [((IDS, MASK), CLASSES)],
    )
    assert len(sensitivity(subject, Evaluation(chips=1)).layers) == 4


@pytest.mark.parametrize(
    ("batch", "warned"),
    [
        ((IDS, MASK), True),
        ((IDS, MASK, CLASSES), True),
        ((IDS, CLASSES), False),
        ((IDS, IDS), False),  # labels of the next tokens
        (((IDS, MASK), CLASSES), False),
        ({"input_ids": IDS, "attention_mask": MASK}, False),
    ],
    ids=["mask", "mask and labels", "labels", "next tokens", "a tuple of its own", "dict"],
)
def test_no_mask_is_ignored_silently(
    batch: Any, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = cimsim.convert(bert(), "pcm-ibm-2020")
    with caplog.at_level(logging.WARNING, "cimsim"):
        cimsim.calibrate(model, [batch] * 2)
    assert caplog.text.count("if it is 'attention_mask', pass a dict with that key") == warned
