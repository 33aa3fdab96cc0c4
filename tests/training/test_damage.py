"""Damaged and foreign files of a run are noticed, with a sentence that names the file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cimsim.errors import CimsimError
from cimsim.training.checkpoint import Checkpoint, save_checkpoint
from cimsim.training.config import TrainConfig, dump_config, read_config
from cimsim.training.fit import fit
from cimsim.training.manifest import SUMS, hash_of
from cimsim.training.parallel import Ranks
from cimsim.training.records import read_environment, read_metrics
from cimsim.training.run import Run
from tests.training.small import small, stopped

LAYERED = small(layer=("hidden1:profile=reram-cmo-2025",))
FILES = (
    "config.yaml",
    "profile.yaml",
    "layer-1.yaml",
    "env.json",
    "metrics.jsonl",
    "model.safetensors",
    "result.json",
)
FLIPS = 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(LAYERED, tmp_path_factory.mktemp("finished") / "run").path


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in the second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stopped(LAYERED, folder, 4, patch)
    return folder


def read_all(path: Path) -> None:
    """Everything of a finished run that is ever read."""
    run = Run.open(path)
    assert run.checkpoint_sha256
    run.chip_model()
    read_metrics(path)
    read_environment(path)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(content: bytes) -> list[bytes]:
    chance = random.Random(0)
    ends = [0, 8 * len(content) - 1]
    return [
        flipped(content, bit) for bit in [*ends, *chance.sample(range(8 * len(content)), FLIPS)]
    ]


def test_every_file_has_a_hash(finished: Path) -> None:
    read_all(finished)
    hashes = dict(line.split("  ")[::-1] for line in (finished / SUMS).read_text().splitlines())
    assert set(hashes) == set(FILES)
    assert {path.name for path in finished.iterdir()} == {*FILES, SUMS, ".lock"}
    for name, found in hashes.items():
        assert found == hash_of((finished / name).read_bytes())


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_no_flipped_bit_of_a_finished_run_goes_unnoticed(
    name: str, finished: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(finished, tmp_path / "run") / name
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CimsimError) as error:
            read_all(path.parent)
        assert SUMS in str(error.value)
        assert "restore it" in str(error.value) or "restore the file" in str(error.value)
        assert name == SUMS or f"{path} is damaged" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["checkpoint.pt", "config.yaml", "profile.yaml", "layer-1.yaml", "metrics.jsonl"],
)
def test_no_flipped_bit_is_resumed_from(name: str, under_way: Path, tmp_path: Path) -> None:
    path = shutil.copytree(under_way, tmp_path / "run") / name
    for content in flips(path.read_bytes())[:8]:
        path.write_bytes(content)
        with pytest.raises(CimsimError, match=name):
            fit(LAYERED, path.parent, resume=True)
    assert not (path.parent / "result.json").exists()


def test_a_run_of_before_there_were_hashes_is_read(
    finished: Path, under_way: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / SUMS).unlink()
    (copy / ".lock").unlink()
    read_all(copy)
    assert fit(LAYERED, copy, resume=True).result == Run.open(finished).result
    old = shutil.copytree(under_way, tmp_path / "old")
    content = torch.load(old / "checkpoint.pt", weights_only=True)
    for field in ("plateau", "run", "metrics_sha256", "parts_sha256"):
        del content[field]
    torch.save(content, old / "checkpoint.pt")
    (old / SUMS).unlink()
    resumed = fit(LAYERED, old, resume=True)
    assert resumed.checkpoint_sha256 == Run.open(finished).checkpoint_sha256
    read_all(old)
    assert (old / SUMS).is_file()


def test_a_configuration_that_was_cut_is_none(finished: Path, tmp_path: Path) -> None:
    for hashed in (True, False):
        copy = shutil.copytree(finished, tmp_path / f"hashed-{hashed}")
        if not hashed:
            (copy / SUMS).unlink()
        lines = (copy / "config.yaml").read_text().splitlines(keepends=True)
        for count in range(len(lines)):
            (copy / "config.yaml").write_text("".join(lines[:count]))
            with pytest.raises(CimsimError, match=r"config\.yaml"):
                Run.open(copy)
        for missing in range(len(lines)):
            rest = lines[:missing] + lines[missing + 1 :]
            (copy / "config.yaml").write_text("".join(rest))
            with pytest.raises(CimsimError, match=r"config\.yaml"):
                Run.open(copy)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "model: !!python/object/apply:os.system ['true']\n",
        "model: !!str mlp\n",
        "[" * 50,
        'model: "\\UFFFFFFFF"\n',
        "epochs: " + "9" * 5000,
        "- 1\n",
        "",
        "{",
        "model: \x07",
    ],
)
def test_a_configuration_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CimsimError, match=r"config\.yaml") as error:
        read_config(tmp_path / "config.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", TrainConfig.model_fields)
@pytest.mark.parametrize("value", [{"a": 1}, [[1]], "a\0b", float("nan"), -(10**400)])
def test_a_setting_of_another_type_is_named(field: str, value: object, tmp_path: Path) -> None:
    import yaml

    settings = yaml.safe_load(dump_config(small()))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**settings, field: value}))
    with pytest.raises(CimsimError) as error:
        read_config(tmp_path / "config.yaml")
    assert f"{field}" in str(error.value)


RESULTS: dict[str, Any] = {
    "digital_accuracy": [None, "0.5", [0.5], True, 1.5, {}],
    "chip_loss": [None, "nan", []],
    "chip_seed": ["0", 0.5],
    "data_fingerprint": [3, None],
    "token": [0, ["character"]],
}


@pytest.mark.parametrize("field", RESULTS)
def test_a_result_of_another_type_is_named(field: str, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / SUMS).unlink()
    result = json.loads((copy / "result.json").read_text())
    for value in RESULTS[field]:
        (copy / "result.json").write_text(json.dumps({**result, field: value}))
        with pytest.raises(CimsimError, match=rf"result\.json cannot be read \({field}: "):
            Run.open(copy)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"{", b"[]\n", b'{"epoch": "1"}', b"null", b"[" * 9999]
)
@pytest.mark.parametrize("name", ["metrics.jsonl", "env.json", "result.json"])
def test_what_is_no_record(name: str, content: bytes, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / SUMS).unlink()
    (copy / name).write_bytes(content)
    if name == "env.json" and content.startswith(b'{"epoch'):
        return  # further numbers are no harm
    with pytest.raises(CimsimError, match=f"{name}.* cannot be read"):
        read_all(copy)


def test_a_profile_of_a_run_names_no_other_file(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / SUMS).unlink()
    (tmp_path / "secret.yaml").write_text("extends: ideal\nname: secret\n")
    for text in (
        "extends: ../secret.yaml\nname: profile\n",
        f"{{name: x, extends: {tmp_path}/secret.yaml}}",
        "name: x\ncell:\n  faults:\n  - {kind: map, file: /dev/zero}\n",
    ):
        (copy / "profile.yaml").write_text(text)
        with pytest.raises(CimsimError, match="refers to another file"):
            Run.open(copy)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(bad: float, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / SUMS).unlink()
    tensors = load_file(copy / "model.safetensors")
    name = next(n for n in tensors if n.endswith("weight"))
    tensors[name].view(-1)[0] = bad
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CimsimError, match=f"'{name}' contains NaN or infinity"):
        Run.open(copy).chip_model()
    with pytest.raises(CimsimError, match=r"cannot start from .* NaN or infinity"):
        fit(small(start=copy), tmp_path / "new")


def test_another_runs_weights_are_noticed(finished: Path, tmp_path: Path) -> None:
    other = fit(small(seed=6, layer=LAYERED.layer), tmp_path / "other").path
    copy = shutil.copytree(finished, tmp_path / "run")
    shutil.copy(other / "model.safetensors", copy)
    with pytest.raises(CimsimError, match=r"model\.safetensors is damaged or was changed"):
        Run.open(copy).chip_model()


Change = Callable[[dict[str, Any]], object]


def first(content: dict[str, Any]) -> torch.Tensor:
    tensor: torch.Tensor = next(t for n, t in content["model"].items() if n.endswith("weight"))
    return tensor


CHANGES: dict[str, Change] = {
    "epoch 10^9": lambda c: c.update(epoch=10**9),
    "negative epoch": lambda c: c.update(epoch=-1),
    "epoch of another type": lambda c: c.update(epoch="1"),
    "epoch true": lambda c: c.update(epoch=True),
    "step beyond": lambda c: c.update(step=10**6),
    "no step": lambda c: c.pop("step"),
    "another field": lambda c: c.update(code="x"),
    "NaN": lambda c: first(c).fill_(torch.nan),
    "infinity": lambda c: first(c).view(-1)[3].fill_(torch.inf),
    "another dtype": lambda c: c["model"].update({n: t.double() for n, t in c["model"].items()}),
    "another shape": lambda c: c["model"].update(
        {n: t[:1] for n, t in c["model"].items() if t.dim()}
    ),
    "a tensor more": lambda c: c["model"].update(more=torch.zeros(1)),
    "a tensor less": lambda c: c["model"].popitem(),
    "no model": lambda c: c.update(model=[]),
    "no sums": lambda c: c.update(sums=torch.zeros(2, dtype=torch.float64)),
    "sums NaN": lambda c: c["sums"].fill_(torch.nan),
    "sums of another type": lambda c: c.update(sums=[0.0] * 5),
    "no optimizer": lambda c: c.update(optimizers=[]),
    "optimizer of another type": lambda c: c.update(optimizers=[[]]),
    "optimizer empty": lambda c: c.update(optimizers=[{}]),
    "another decay": lambda c: c["optimizers"][0]["param_groups"][0].update(weight_decay=0.5),
    "other betas": lambda c: c["optimizers"][0]["param_groups"][0].update(betas=(0.5, 0.5)),
    "moment of another shape": lambda c: c["optimizers"][0]["state"][0].update(
        exp_avg=torch.zeros(3)
    ),
    "moment NaN": lambda c: c["optimizers"][0]["state"][0]["exp_avg"].fill_(torch.nan),
    "moment missing": lambda c: c["optimizers"][0]["state"][0].pop("exp_avg"),
    "rng of another type": lambda c: c.update(rng=[torch.zeros(3)]),
    "rng no list": lambda c: c.update(rng=3),
    "averages": lambda c: c.update(average=[torch.zeros(3)]),
    "curvature": lambda c: c.update(curvature=[torch.zeros(3)]),
    "parts elsewhere": lambda c: c.update(
        parts="../..", model={n: t.to("meta") for n, t in c["model"].items()}
    ),
    "another run": lambda c: c.update(run="0" * 64),
}


@pytest.mark.parametrize("hashed", [False, True], ids=["by torch.save", "with its hash"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_damaged_checkpoint_is_resumed_from(
    change: str, hashed: bool, under_way: Path, tmp_path: Path
) -> None:
    """Neither one whose hash is missing, nor one that was written with a hash of its own: whatever
    it says must fit."""
    copy = shutil.copytree(under_way, tmp_path / "run")
    path = copy / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    CHANGES[change](content)
    if hashed:
        entries = Checkpoint.__dataclass_fields__
        try:
            checkpoint = Checkpoint(**{n: v for n, v in content.items() if n in entries})
        except TypeError:
            return  # no writer of ours leaves a field out
        if set(content) - set(entries) or checkpoint.parts:
            return
        save_checkpoint(checkpoint, path, Ranks())
    else:
        (copy / SUMS).unlink()  # or else it is refused for its hash, whatever it says
        torch.save(content, path)
    with pytest.raises(CimsimError, match=r"checkpoint\.pt is") as error:
        fit(LAYERED, copy, resume=True)
    assert "\n" not in str(error.value)
    assert not (copy / "result.json").exists()


def test_a_checkpoint_without_its_hash_is_none_where_there_are_hashes(
    under_way: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(under_way, tmp_path / "run") / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True), path)
    with pytest.raises(CimsimError, match=r"checkpoint\.pt .*SHA-256 at its end is missing"):
        fit(LAYERED, path.parent, resume=True)


@pytest.mark.parametrize("keep", [0, 1, 10, 1000, 50_000, -1, -70, -73, -90])
def test_a_checkpoint_that_was_cut(keep: int, under_way: Path, tmp_path: Path) -> None:
    for hashed in (True, False):
        path = shutil.copytree(under_way, tmp_path / f"{hashed}") / "checkpoint.pt"
        if not hashed:
            (path.parent / SUMS).unlink()
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(CimsimError, match=r"checkpoint\.pt is not a readable checkpoint"):
            fit(LAYERED, path.parent, resume=True)


def test_another_runs_checkpoint_is_noticed(
    under_way: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small(seed=6, layer=LAYERED.layer)
    stopped(other, tmp_path / "other", 4, monkeypatch)
    copy = shutil.copytree(under_way, tmp_path / "run")
    shutil.copy(tmp_path / "other" / "checkpoint.pt", copy)
    with pytest.raises(CimsimError, match="is damaged or belongs to another run: its settings"):
        fit(LAYERED, copy, resume=True)


def test_metrics_that_are_missing_are_noticed(under_way: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(under_way, tmp_path / "run")
    (copy / "metrics.jsonl").unlink()
    with pytest.raises(CimsimError, match=r"metrics\.jsonl is damaged: it does not contain the"):
        fit(LAYERED, copy, resume=True)
    (copy / "checkpoint.pt").unlink()  # the advice
    assert fit(LAYERED, copy, resume=True).result
