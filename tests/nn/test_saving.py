"""Converted models in folders of plain files: the same numbers after loading, and clear errors."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers

X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Several kinds of layers, one of them twice, and one that is unpacked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.first = nn.Linear(4, 8)
        self.tied = nn.Linear(4, 8)
        self.tied.weight = self.first.weight
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        mixed = self.attention(tokens, tokens, tokens)[0].mean(1)
        y: Tensor = self.last(self.norm(self.first(mixed) + self.tied(mixed)).relu())
        return y


def test_a_folder_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CimsimError, match=r"name of a folder is empty; write '\.'"):
        cimsim.save(converted(), "")
    assert list(tmp_path.iterdir()) == []
    cimsim.save(converted(), ".")
    with pytest.raises(CimsimError, match=r"name of a folder is empty; write '\.'"):
        cimsim.load("", Net())
    assert analog_layers(cimsim.load(".", Net()))


def converted() -> nn.Module:
    torch.manual_seed(0)
    model = cimsim.convert(
        Net(),
        cimsim.load_profile("pcm-ibm-2020", ["adc.bits=6"]),
        rule="output-ste",
        keep_digital="*out_proj",
        layers={
            "conv": {"profile": "reram-wan-2022", "quantize_weights": "lsq:bits=4"},
            "last": {"denoise": 0.05, "rule": "E", "quantize_inputs": "uniform:bits=5"},
        },
        seed=11,
    )
    cimsim.calibrate(model, [X])
    model.train()
    model(X).sum().backward()  # the denoiser and the norm have statistics, chips were drawn
    return model.eval()


def other() -> nn.Module:
    torch.manual_seed(1)
    return Net()


def test_the_loaded_model_computes_the_same(tmp_path: Path) -> None:
    model = converted()
    cimsim.program(model, 5, cycle=2, in_training=True)
    cimsim.age(model, "1 day")
    model(X)  # the next read is the second
    cimsim.save(model, tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "cimsim.json",
        "model.safetensors",
    ]
    plain = other()
    again = cimsim.load(tmp_path / "new" / "folder", plain).eval()
    assert not any(isinstance(m, cimsim.nn.AnalogLayer) for m in plain.modules())
    assert torch.equal(again(X), model(X))
    for name, layer in analog_layers(model).items():
        twin = analog_layers(again)[name]
        assert (twin.profile, twin.rule, twin.seed, twin.draws, twin.chip_in_training) == (
            *(layer.profile, layer.rule, layer.seed, layer.draws),
            True,
        )
    assert again.tied.weight is again.first.weight
    for one in (model, again):
        cimsim.program(one, 9).train()
    assert torch.equal(again(X), model(X))  # the same chips of training follow


def test_layers_that_compute_digitally_stay_so(tmp_path: Path) -> None:
    model = converted()
    analog_layers(model)["first"].digital = True
    cimsim.save(model, tmp_path)
    assert analog_layers(cimsim.load(tmp_path, other()))["first"].digital


def test_wrappers_are_left_out(tmp_path: Path) -> None:
    model = converted()
    cimsim.save(torch.compile(nn.DataParallel(model), backend="eager"), tmp_path)
    again = cimsim.load(tmp_path, torch.compile(other(), backend="eager")).eval()
    assert torch.equal(again(X), model(X))


def test_a_failed_save_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = converted()
    cimsim.save(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Extra(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 1}

    broken = nn.ModuleDict({"net": model, "odd": Extra()})
    with pytest.raises(CimsimError, match=r"'odd._extra_state' of the model's state is a dict"):
        cimsim.save(broken, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "cimsim.json").read_text())
        change(content)
        (folder / "cimsim.json").write_text(json.dumps(content))

    return damage


def _weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no settings": (
        lambda f: (f / "cimsim.json").unlink(),
        "has no cimsim.json, so no converted model was saved there",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "does not contain this model's"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-9]
        ),
        "does not contain this model's weights",
    ),
    "cut settings": (
        lambda f: (f / "cimsim.json").write_text((f / "cimsim.json").read_text()[:-9]),
        "cimsim.json is damaged",
    ),
    "a list": (lambda f: (f / "cimsim.json").write_text("[1]"), "cimsim.json is damaged"),
    "deep": (lambda f: (f / "cimsim.json").write_text("[" * 10**5), "nested too deeply"),
    "newer": (
        _changed(lambda c: c.update(schema_version=2)),
        "has schema_version 2, and this version of cimsim reads 1; update cimsim",
    ),
    "another key": (_changed(lambda c: c.update(extra=1)), "damaged: extra: "),
    "no layers": (_changed(lambda c: c.update(layers={})), "damaged: layers: "),
    "no such profile": (
        _changed(lambda c: c["layers"]["last"].update(profile=7)),
        "layer 'last': there is no profile 7",
    ),
    "profile": (_changed(lambda c: c["profiles"][0].pop("cell")), r"damaged: profiles\.0\.cell: "),
    "rule": (_changed(lambda c: c["layers"]["last"].update(rule="Z")), "layer 'last': .*'Z'"),
    "quantizer": (
        _changed(lambda c: c["layers"]["conv"].update(quantize_weights="os.system")),
        "layer 'conv': .*os.system",
    ),
    "age": (
        _changed(lambda c: c["layers"]["last"]["chip"].update(age_s=-1)),
        r"layers\.last\.chip\.age_s",
    ),
    "another model": (
        _changed(lambda c: c["layers"].update(third=c["layers"]["last"])),
        "this Net has no layer 'third'",
    ),
    "no product": (
        _changed(lambda c: c["layers"].update(norm=c["layers"]["last"])),
        "layer 'norm' is a BatchNorm1d, which stays digital",
    ),
    "missing tensor": (_weights(lambda s: s.pop("last.weight")), "it has no 'last.weight'"),
    "further tensor": (_weights(lambda s: s.update(more=torch.ones(1))), "it has 'more'"),
    "shape": (
        _weights(lambda s: s.update({"last.weight": torch.ones(3, 9)})),
        "do not fit this Net: size mismatch for last.weight",
    ),
    "dtype": (
        _weights(lambda s: s.update({"last.weight": torch.ones(3, 8).half()})),
        "'last.weight' has dtype torch.float16, not torch.float32",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_sentence(case: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[case]
    cimsim.save(converted(), tmp_path)
    damage(tmp_path)
    plain = other()
    state = copy.deepcopy(plain.state_dict())
    with pytest.raises(CimsimError, match=message) as failure:
        cimsim.load(tmp_path, plain)
    assert "\n" not in str(failure.value)
    assert all(torch.equal(state[name], now) for name, now in plain.state_dict().items())


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="no analog layers; convert it first"):
        cimsim.save(other(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CimsimError, match="cannot create the folder"):
        cimsim.save(converted(), tmp_path / "file")
    cimsim.save(converted(), tmp_path)
    with pytest.raises(CimsimError, match=r"no config.json.*cimsim.load\(folder, model\)"):
        cimsim.load(tmp_path)
    with pytest.raises(CimsimError, match="analog layers already; pass the digital model"):
        cimsim.load(tmp_path, converted())


# Models of Hugging Face.

transformers = pytest.importorskip("transformers")
TOKENS = torch.arange(24).view(2, 12)


@pytest.fixture
def gpt2() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 16}
    config = transformers.GPT2Config(
        **sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"
    )
    model = cimsim.convert(
        transformers.GPT2LMHeadModel(config).eval(),
        "pcm-ibm-2020",
        keep_digital="last",
        quantize_weights="lsq:bits=6",
    )
    return cimsim.calibrate(model, [TOKENS])


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "20KB"}], ids=["one", "many"])
def test_save_pretrained_keeps_the_chip(
    gpt2: nn.Module, shards: dict[str, str], tmp_path: Path
) -> None:
    cimsim.age(cimsim.program(gpt2, 3), "1 h")
    gpt2.save_pretrained(tmp_path, **shards)
    again = cimsim.load(tmp_path)
    assert not again.training
    assert again.lm_head.weight is again.transformer.wte.weight
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, gpt2(TOKENS).logits)
    # Its configuration is unchanged, so that the digital model loads as ever.
    config = json.loads((tmp_path / "config.json").read_text())
    assert "cimsim" not in json.dumps(config)


def test_copies_and_parts_are_saved_too(gpt2: nn.Module, tmp_path: Path) -> None:
    cimsim.program(gpt2, 3)
    for number, model in enumerate(
        (copy.deepcopy(gpt2), pickle.loads(pickle.dumps(gpt2)), cimsim.convert(gpt2, "ideal"))
    ):
        model.transformer.h[0].attn.c_attn.weight.data.mul_(2)
        model.save_pretrained(tmp_path / f"{number}")
        again = cimsim.load(tmp_path / f"{number}")
        for one in (model, again):
            cimsim.program(one, 3)
        with torch.no_grad():
            assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
    cimsim.save(gpt2.transformer, tmp_path / "part")
    part = cimsim.load(tmp_path / "part")
    assert type(part) is transformers.GPT2Model
    assert set(analog_layers(part)) == set(analog_layers(gpt2.transformer))


def test_a_digital_model_saves_as_before(gpt2: nn.Module, tmp_path: Path) -> None:
    back = cimsim.to_digital(gpt2)
    assert "save_pretrained" not in vars(back)
    back.save_pretrained(tmp_path)
    assert not (tmp_path / "cimsim.json").exists()


def test_a_failed_save_pretrained_leaves_no_settings(gpt2: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="very large"):
        gpt2.save_pretrained(tmp_path, max_shard_size="very large")
    assert not (tmp_path / "cimsim.json").exists()
    gpt2.save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / "cimsim.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged: 'architectures' contains no class"),
        ('{"architectures": []}', "is damaged: 'architectures' contains no class"),
        ('{"architectures": ["Unheard"]}', r"transformers \d.* has no model 'Unheard'"),
        ('{"architectures": ["pipeline"]}', "has no model 'pipeline'"),
        (
            '{"architectures": ["GPT2Model"], "model_type": "gpt2", "n_embd": "wide"}',
            "transformers cannot load its GPT2Model: ",
        ),
    ],
)
def test_configurations_of_others(
    gpt2: nn.Module, content: str, message: str, tmp_path: Path
) -> None:
    gpt2.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CimsimError, match=message):
        cimsim.load(tmp_path)


def test_shards_outside_of_the_folder_are_refused(gpt2: nn.Module, tmp_path: Path) -> None:
    gpt2.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    config = gpt2.config
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = "../secret.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(CimsimError, match=r"'../secret\.safetensors' is not the name"):
        cimsim.load(tmp_path, transformers.GPT2LMHeadModel(config))
