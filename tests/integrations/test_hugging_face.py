"""``NoiseAwareCallback`` in the trainer of ``transformers``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from tests.children import all_ended
from tests.integrations.networks import TEST, TRAIN, network, require_alike, same, settings
from tests.training.processes import start

pytest.importorskip("accelerate", reason="accelerate is in the extra 'integrations'")
transformers = pytest.importorskip("transformers", reason="transformers is in the extra 'hf'")

from cimsim.integrations.hugging_face import FILE, NoiseAwareCallback  # noqa: E402

STEPS = 12  # two epochs of six batches


class Classifier(nn.Module):
    """A model as the trainer takes it: it returns its loss and its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def trainer_in(folder: Path, learn_ranges: Any = (), **arguments: Any) -> Any:
    usual = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 16,
        "learning_rate": 0.02,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "logging_strategy": "epoch",
    }
    return transformers.Trainer(
        model=cimsim.convert(Classifier(), "pcm-ibm-2020", learn_ranges=learn_ranges),
        args=transformers.TrainingArguments(str(folder), **{**usual, **arguments}),
        train_dataset=TRAIN,
        eval_dataset=TEST,
        compute_metrics=accuracy,
    )


def prepared(folder: Path, chips: int = 0, arguments: Any = (), **others: Any) -> Any:
    trainer = trainer_in(folder, **dict(arguments))
    trainer.add_callback(NoiseAwareCallback(trainer, chips=chips, **settings(**others)))
    return trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("hf")
    trainer = prepared(folder)
    trainer.train()
    return folder, trainer


def test_it_learns_and_evaluates_over_chips(tmp_path: Path) -> None:
    trainer = prepared(
        tmp_path,
        chips=3,
        average=0.0,
        arguments={
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_chip_accuracy_mean",
            "num_train_epochs": 8,
        },
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "eval_chip_accuracy_mean" in entry]
    assert len(logs) == 8
    assert logs[-1]["eval_chip_accuracy_mean"] > 0.6 > 2 / 4  # a quarter by chance
    assert logs[-1]["eval_chip_accuracy_worst"] <= logs[-1]["eval_chip_accuracy_mean"]
    assert logs[-1]["eval_chip_loss_worst"] >= logs[-1]["eval_chip_loss_mean"]
    assert logs[-1]["eval_chip_loss_std"] > 0
    best = max(entry["eval_chip_accuracy_mean"] for entry in logs)
    assert trainer.state.best_metric == best
    # The same chips by hand.
    trainer.callback_handler.callbacks[-1].noise_aware.detach()
    by_hand = []
    for chip in range(3):
        cimsim.program(trainer.model.eval(), chip)
        with torch.no_grad():
            y = trainer.model(TEST.x)["logits"]
        by_hand.append((y.argmax(-1) == TEST.labels).double().mean().item())
    metrics = trainer.evaluate()
    # One more reading of each chip: two of 64 samples.
    assert metrics["eval_chip_accuracy_mean"] == pytest.approx(np.mean(by_hand), abs=2 / 64)


def test_evaluation_over_chips_changes_nothing_in_training(
    run: tuple[Path, Any], tmp_path: Path
) -> None:
    trainer = prepared(tmp_path, chips=2)
    trainer.train()
    assert same(trainer.model, run[1].model)


def test_a_resumed_training_is_the_same(run: tuple[Path, Any], tmp_path: Path) -> None:
    folder, whole = run
    checkpoint = folder / f"checkpoint-{STEPS // 2}"
    assert (checkpoint / FILE).is_file()
    target = tmp_path / checkpoint.name
    target.mkdir(parents=True)
    for file in checkpoint.iterdir():
        target.joinpath(file.name).write_bytes(file.read_bytes())
    trainer = prepared(tmp_path)
    trainer.train(resume_from_checkpoint=True)
    assert same(trainer.model, whole.model)


def test_it_is_the_loop_that_a_user_writes(tmp_path: Path) -> None:
    sgd = {"optim": "sgd", "learning_rate": 0.5, "eval_strategy": "no"}
    trainer = prepared(tmp_path, arguments=sgd)
    trainer.model.network[3].p = 0.0  # dropout, whose masks depend on everything before
    seen: list[dict[str, Tensor]] = []
    watch = trainer.model.register_forward_pre_hook(
        lambda module, _, named: seen.append(named) if module.training else None, with_kwargs=True
    )
    trainer.train()
    watch.remove()
    assert len(seen) == STEPS
    model = cimsim.convert(Classifier(), "pcm-ibm-2020")
    model.network[3].p = 0.0
    with_noise = cimsim.NoiseAware(model, STEPS, **settings())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()
    for step, batch in enumerate(seen):
        optimizer.param_groups[0]["lr"] = 0.5 * (1 - step / STEPS)
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with_noise.step()
    with_noise.finish()
    trained = trainer.model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, trained[name], rtol=1e-4, atol=1e-6)


def test_accumulation_is_one_step(tmp_path: Path) -> None:
    trainer = prepared(tmp_path, arguments={"gradient_accumulation_steps": 3})
    trainer.train()
    assert trainer.callback_handler.callbacks[-1].noise_aware.steps_taken == 4


def test_a_language_model(tmp_path: Path) -> None:
    """A model with a class of its own, dictionaries as batches, and tied weights."""
    sizes = {"n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 20, "n_positions": 8}
    config = transformers.GPT2Config(
        **sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"
    )
    torch.manual_seed(0)
    model = cimsim.convert(transformers.GPT2LMHeadModel(config), "pcm-ibm-2020")
    tokens = torch.arange(64 * 8).view(64, 8) % 20
    data = [{"input_ids": row, "labels": row} for row in tokens]
    batches = [{"input_ids": tokens[:16], "labels": tokens[:16]}]

    def make() -> Any:
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=16,
            save_steps=4,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = transformers.Trainer(
            model=cimsim.convert(transformers.GPT2LMHeadModel(config), "pcm-ibm-2020"),
            args=arguments,
            train_dataset=data,
            eval_dataset=data[:16],
        )
        trainer.add_callback(
            NoiseAwareCallback(trainer, chips=2, calibration=batches, clip_sigma=2.5)
        )
        return trainer

    torch.manual_seed(0)
    whole = make()
    whole.train()
    metrics = whole.evaluate()
    assert metrics["eval_chip_loss_std"] > 0
    torch.manual_seed(5)
    resumed = make()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert same(whole.model, resumed.model)
    assert len(analog_layers(model)) == 5


def train_in_two(folder: Path) -> None:
    """In each of two processes, which calibrate on inputs of different sizes."""
    rank = int(os.environ["RANK"])
    for find_unused in (True, False):
        trainer = trainer_in(
            folder,
            learn_ranges="dac",
            num_train_epochs=1,
            eval_strategy="no",
            save_strategy="no",
            ddp_backend="gloo",
            ddp_find_unused_parameters=find_unused,
        )
        given = settings(warmup=0.4, calibration=[(1 + rank) * TRAIN.x[:32]])
        trainer.add_callback(NoiseAwareCallback(trainer, **given))
        trainer.train()
        require_alike(trainer.model)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over the loopback interface")
def test_two_processes_have_one_model(tmp_path: Path) -> None:
    with start(2, train_in_two, tmp_path) as pair:
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors


def test_bad_input(tmp_path: Path, run: tuple[Path, Any]) -> None:
    trainer = trainer_in(tmp_path)
    with pytest.raises(TypeError, match="nois"):
        NoiseAwareCallback(trainer, nois=2.0)
    best = {"load_best_model_at_end": True}
    with pytest.raises(CimsimError, match="load_best_model_at_end loads the weights"):
        prepared(tmp_path, arguments=best).train()
    trainer = prepared(tmp_path)
    with pytest.raises(CimsimError, match=r"noise_aware\.safetensors does not exist"):
        trainer.train(resume_from_checkpoint=str(run[0] / f"checkpoint-{STEPS}"))


@pytest.mark.parametrize("content", [b"", b"text", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_state(content: bytes, tmp_path: Path) -> None:
    from cimsim.integrations.hugging_face import _read

    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CimsimError, match="is damaged"):
        _read(tmp_path / FILE)


def test_the_state_is_readable_json(run: tuple[Path, Any]) -> None:
    from safetensors import safe_open

    with safe_open(str(run[0] / f"checkpoint-{STEPS}" / FILE), "pt") as file:
        assert json.loads(file.metadata()["state"])["step"] == STEPS
