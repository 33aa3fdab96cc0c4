"""Adapters of the PEFT library on models whose base layers are on a chip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers

transformers = pytest.importorskip("transformers", reason="needs transformers")
peft = pytest.importorskip("peft", reason="needs peft")

# PEFT's own, of a name that transformers has changed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TOKENS = torch.arange(24).view(2, 12)
BATCH = {"input_ids": TOKENS, "labels": torch.tensor([0, 1])}
STATIC = cimsim.load_profile("pcm-ibm-2020", ["cell.read_noise=[]"])


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.conv(x).relu().flatten(1))
        return y


def bert() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.BertConfig(
        **sizes, intermediate_size=64, vocab_size=50, max_position_embeddings=16
    )
    model: nn.Module = transformers.BertForSequenceClassification(config).eval()
    return model


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 16}
    config = transformers.GPT2Config(
        **sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"
    )
    model: nn.Module = transformers.GPT2LMHeadModel(config).eval()
    return model


def convnet() -> nn.Module:
    torch.manual_seed(0)
    return ConvNet().eval()


def outputs(model: nn.Module) -> Tensor:
    """Its logits in evaluation mode."""
    with torch.no_grad():
        if any(isinstance(m, ConvNet) for m in model.modules()):
            return model.eval()(torch.ones(2, 1, 8, 8)).clone()
        return model.eval()(TOKENS).logits.clone()


def calibrated(model: nn.Module, profile: Any = STATIC, **options: Any) -> nn.Module:
    inputs = TOKENS
    if any(isinstance(m, ConvNet) for m in model.modules()):
        inputs = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return cimsim.calibrate(cimsim.convert(model, profile, **options), [inputs])


def adapted(model: nn.Module, *targets: str, **options: Any) -> nn.Module:
    """``model`` in PEFT, with adapters that are not zero."""
    torch.manual_seed(1)
    config = peft.LoraConfig(
        **{"r": 4, "target_modules": list(targets), "init_lora_weights": False, **options}
    )
    wrapped: nn.Module = peft.get_peft_model(model, config)
    return wrapped


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], dict[str, Any]]] = {
    "linear": (bert, ("query", "value"), {"modules_to_save": ["classifier"]}),
    "GPT-2": (gpt2, ("c_attn", "c_fc"), {"fan_in_fan_out": True}),
    "conv": (convnet, ("conv", "fc"), {}),
    "embedding": (gpt2, ("wte", "c_attn"), {"fan_in_fan_out": True}),
    "DoRA": (bert, ("query", "dense"), {"use_dora": True}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_converted_before_or_after_is_the_same(kind: str) -> None:
    build, targets, options = KINDS[kind]
    before = adapted(calibrated(build()), *targets, **options)
    after = calibrated(adapted(build(), *targets, **options))
    layers = analog_layers(after)
    assert set(layers) == set(analog_layers(before))
    assert not any("lora" in name for name in layers)
    assert any(name.endswith("base_layer") for name in layers)
    for name, layer in analog_layers(before).items():
        if not torch.equal(layer.adc_range, layers[name].adc_range):  # of adapted signals
            layers[name].load_state_dict(layer.state_dict())
    cimsim.program(before, 3)
    cimsim.program(after, 3)
    assert torch.equal(outputs(before), outputs(after))
    plain = adapted(build(), *targets, **options)
    assert not torch.equal(outputs(before), outputs(plain))
    ideal = cimsim.convert(adapted(build(), *targets, **options), "ideal")
    torch.testing.assert_close(outputs(ideal), outputs(plain), atol=1e-5, rtol=1e-4)


def test_adapters_can_be_analog() -> None:
    plain = adapted(bert(), "query")
    model = calibrated(plain, adapters="analog")
    added = set(analog_layers(model)) - set(analog_layers(calibrated(plain)))
    assert {name.rpartition("self.")[2] for name in added} == {
        "query.lora_A.default",
        "query.lora_B.default",
    }
    model.train()(**BATCH).loss.backward()
    for name in added:
        assert analog_layers(model)[name].weight.grad is not None
    with pytest.raises(CimsimError, match="adapters must be 'digital' or 'analog', not 'both'"):
        cimsim.convert(plain, "ideal", adapters="both")


def programmings(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the base layers that are programmed from now on, in the order of programming."""
    from cimsim.array import Array

    done: list[str] = []
    chip, programmed = Array.chip, Array.programmed
    monkeypatch.setattr(Array, "chip", lambda *a, **k: (done.append("chip"), chip(*a, **k))[1])
    monkeypatch.setattr(
        Array, "programmed", lambda *a, **k: (done.append("again"), programmed(*a, **k))[1]
    )
    return done


def test_a_fixed_chip_is_programmed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(calibrated(bert()), "query", "value", "dense")
    count = len(analog_layers(model))
    done = programmings(model, monkeypatch)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    cimsim.program(model, 3, in_training=True).train()
    for _ in range(3):
        optimizer.zero_grad()
        model(**BATCH).loss.backward()
        optimizer.step()
    assert len(done) == count  # no gradient needs the chip to be programmed again
    fixed = outputs(model)
    assert len(done) == count  # and evaluation uses the same chip
    cimsim.program(model, 3)
    assert torch.equal(outputs(model), fixed)
    done.clear()
    for _ in range(3):
        model.train()(**BATCH).loss.backward()
    assert done.count("chip") == 3 * count


def test_training_adapts_to_the_chip() -> None:
    """On a chip with large errors, adapters tuned against it are better there than others."""
    torch.manual_seed(0)
    noisy = cimsim.load_profile("pcm-ibm-2020").scale_noise(4.0)
    inputs = torch.randn(256, 16)
    teacher = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4)).requires_grad_(False)
    with torch.no_grad():
        target = teacher(inputs)

    def loss(model: nn.Module) -> Tensor:
        return nn.functional.mse_loss(model(inputs), target)

    model = adapted(
        cimsim.calibrate(cimsim.convert(teacher, noisy), [inputs]),
        *("0", "2"),
        init_lora_weights=True,
    )
    before = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    cimsim.program(model, 3, in_training=True)
    with torch.no_grad():
        untrained = loss(model.eval()).item()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    model.train()
    for _ in range(100):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    with torch.no_grad():
        here = loss(model.eval()).item()
        elsewhere = loss(cimsim.program(model, 4)).item()
    assert here < 0.5 * untrained
    assert here < 0.5 * elsewhere
    assert before
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before)


@pytest.mark.parametrize("kind", ["linear", "GPT-2", "conv", "DoRA"])
def test_merging_programs_the_merged_weights(kind: str) -> None:
    build, targets, options = KINDS[kind]
    model = adapted(calibrated(build()), *targets, **options)
    cimsim.program(model, 3)
    unmerged = outputs(model)
    model.merge_adapter()
    merged = outputs(model)
    assert not torch.equal(merged, unmerged)
    fresh = copy.deepcopy(model)  # its chips are programmed from the merged weights
    assert torch.equal(outputs(cimsim.program(fresh, 3)), merged)
    with pytest.warns(UserWarning, match="already merged, nothing to do"):
        model.merge_adapter()
    assert torch.equal(outputs(model), merged)
    model.unmerge_adapter()
    torch.testing.assert_close(outputs(model), unmerged, atol=0.05, rtol=0.05)
    base = model.merge_and_unload()
    assert not any("base_layer" in name for name in analog_layers(base))
    torch.testing.assert_close(outputs(base), merged, atol=0.05, rtol=0.05)


def test_adapters_are_switched_and_disabled() -> None:
    base = calibrated(bert())
    expected = outputs(cimsim.program(base, 3))
    model = adapted(base, "query", "value")
    model.add_adapter(
        "second", peft.LoraConfig(r=2, target_modules=["key"], init_lora_weights=False)
    )
    cimsim.program(model, 3)
    first = outputs(model)
    model.set_adapter("second")
    second = outputs(model)
    assert not torch.equal(first, second)
    model.set_adapter("default")
    assert torch.equal(outputs(model), first)
    with model.disable_adapter():
        assert torch.equal(outputs(model), expected)
    assert torch.equal(outputs(model.unload()), expected)


def test_adapters_alone_are_saved_and_loaded_onto_a_chip(tmp_path: Path) -> None:
    base = calibrated(bert())
    base.save_pretrained(tmp_path / "base")
    model = adapted(base, "query", "value", modules_to_save=["classifier"])
    cimsim.program(model, 3)
    model.save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "cimsim.json").exists()
    again = peft.PeftModel.from_pretrained(cimsim.load(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(outputs(cimsim.program(again, 3)), outputs(model))


def test_everything_is_saved_by_cimsim(tmp_path: Path) -> None:
    model = adapted(calibrated(bert()), "query", "value", modules_to_save=["classifier"])
    cimsim.age(cimsim.program(model, 3), "1 day")
    cimsim.save(model, tmp_path)
    digital = adapted(bert(), "query", "value", modules_to_save=["classifier"])
    assert torch.equal(outputs(cimsim.load(tmp_path, digital)), outputs(model))
    with pytest.raises(CimsimError, match="has PEFT adapters, which rename its weights"):
        model.get_base_model().save_pretrained(tmp_path / "base")
    assert not (tmp_path / "base").exists()
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(outputs(cimsim.load(tmp_path / "merged")), outputs(merged))


def test_the_trainer_of_transformers_saves_what_can_be_loaded(tmp_path: Path) -> None:
    """Its checkpoints of a converted model, and those of adapters, without any change to it."""
    pytest.importorskip("accelerate", reason="needs accelerate")
    data = [{"input_ids": TOKENS[i % 2], "labels": i % 2} for i in range(4)]
    for number, model in enumerate((calibrated(bert()), adapted(calibrated(bert()), "query"))):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / f"{number}"),
            **{"max_steps": 2, "save_steps": 2, "per_device_train_batch_size": 2},
            **{"report_to": [], "use_cpu": True, "disable_tqdm": True},
            dataloader_pin_memory=False,
        )
        transformers.Trainer(model, arguments, train_dataset=data).train()
        folder = tmp_path / f"{number}" / "checkpoint-2"
        if number:
            base = calibrated(bert())
            again = peft.PeftModel.from_pretrained(base, folder)
        else:
            again = cimsim.load(folder)
            drawn = [layer.draws for layer in analog_layers(again).values()]
            assert drawn == [layer.draws for layer in analog_layers(model).values()]
        for one in (model, again):
            cimsim.program(one, 3)
        assert torch.equal(outputs(again), outputs(model))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.attend(x, x, x)[0])
        return y


def test_adapters_of_packed_attention_leave_it_digital(caplog: pytest.LogCaptureFixture) -> None:
    """PEFT merges them into the packed matrix within each call."""
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    config = peft.LoraConfig(r=2, target_modules=["attend"], init_lora_weights=False)
    wrapped = peft.get_peft_model(Attention(), config).eval()
    analog = cimsim.convert(wrapped, "ideal")
    assert list(analog_layers(analog)) == ["base_model.model.head"]
    assert "PEFT adds its adapters to the packed weights in each call" in caplog.text
    torch.testing.assert_close(analog(x), wrapped(x))


def test_adapters_of_unpacked_attention() -> None:
    analog = cimsim.convert(Attention(), STATIC)
    with pytest.raises(CimsimError, match="its weights are in its layers 'out_proj', 'q_proj'"):
        peft.get_peft_model(copy.deepcopy(analog), peft.LoraConfig(target_modules=["attend"]))
    wrapped = peft.get_peft_model(analog, peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    cimsim.calibrate(wrapped, [x])
    wrapped(x).sum().backward()
    trained = [name for name, p in wrapped.named_parameters() if p.grad is not None]
    assert len(trained) == 4
