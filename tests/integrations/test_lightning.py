"""``NoiseAwareCallback`` in the trainer of Lightning."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from tests.children import all_ended
from tests.integrations.networks import (
    TEST,
    TRAIN,
    converted,
    pairs,
    require_alike,
    same,
    settings,
)
from tests.training.processes import start

pytest.importorskip("lightning", reason="lightning is in the extra 'integrations'")

import lightning.pytorch as pl
from lightning.pytorch.plugins.environments import LightningEnvironment

from cimsim.integrations.lightning import NoiseAwareCallback

pytestmark = [
    # Lightning's own.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*`LeafSpec` is deprecated"),
]

STEPS = 12  # two epochs of six batches


class Classifier(pl.LightningModule):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.network = converted(**options)
        self.network[3].p = 0.0  # dropout, whose random state Lightning does not save

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y

    def training_step(self, batch: Any, number: int) -> Tensor:
        x, labels = batch
        return nn.functional.cross_entropy(self(x), labels)

    def validation_step(self, batch: Any, number: int) -> None:
        x, labels = batch
        y = self(x)
        self.log("val_loss", nn.functional.cross_entropy(y, labels))
        self.log("val_accuracy", (y.argmax(-1) == labels).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


def trainer_in(folder: Path, callback: Any, epochs: int = 2, **others: Any) -> pl.Trainer:
    usual: dict[str, Any] = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 1,
    }
    callbacks = [callback, *others.pop("callbacks", [])]
    return pl.Trainer(max_epochs=epochs, callbacks=callbacks, **{**usual, **others})


def trained(folder: Path, chips: int = 0, **others: Any) -> tuple[Classifier, Any, pl.Trainer]:
    callback = NoiseAwareCallback(chips=chips, **settings(**others.pop("noise", {})))
    module, trainer = Classifier(), trainer_in(folder, callback, **others)
    torch.manual_seed(3)
    trainer.fit(module, pairs(TRAIN), pairs(TEST))
    return module, callback, trainer


def test_it_learns_and_validates_over_chips(tmp_path: Path) -> None:
    module, callback, trainer = trained(tmp_path, chips=3, epochs=8, noise={"average": 0.0})
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert metrics["chip_val_accuracy_mean"] > 0.6 > 2 / 4  # a quarter by chance
    assert metrics["chip_val_accuracy_worst"] <= metrics["chip_val_accuracy_mean"]
    assert metrics["chip_val_loss_worst"] >= metrics["chip_val_loss_mean"]
    assert metrics["chip_val_loss_std"] > 0
    assert not callback.noise_aware.active
    # The same chips by hand, after the last calibration as in the validation.
    found = []
    validator = trainer_in(tmp_path, NoiseAwareCallback(chips=3))
    again = validator.validate(module, pairs(TEST), verbose=False)[0]
    for chip in range(3):
        cimsim.program(module.eval(), chip)
        with torch.no_grad():
            y = torch.cat([module(x) for x, _ in pairs(TEST)])
        found.append((y.argmax(-1) == TEST.labels).double().mean().item())
    assert again["chip_val_accuracy_mean"] == pytest.approx(sum(found) / 3, abs=1e-6)
    assert again["chip_val_accuracy_worst"] == pytest.approx(min(found), abs=1e-6)


def test_validation_over_chips_changes_nothing_in_training(tmp_path: Path) -> None:
    alone, _, _ = trained(tmp_path)
    watched, _, trainer = trained(tmp_path, chips=2)
    assert same(alone, watched)
    assert "chip_val_loss_std" in trainer.callback_metrics


def test_a_resumed_training_is_the_same(tmp_path: Path) -> None:
    def checkpoints() -> dict[str, Any]:
        saves = pl.callbacks.ModelCheckpoint(
            tmp_path / "saved", save_top_k=-1, monitor="chip_val_loss_mean", filename="{epoch}"
        )
        return {"enable_checkpointing": True, "callbacks": [saves]}

    whole, _, _ = trained(tmp_path, chips=2, **checkpoints())
    module, callback = Classifier(), NoiseAwareCallback(chips=2, **settings())
    trainer = trainer_in(tmp_path, callback, **checkpoints())
    path = tmp_path / "saved" / "epoch=0.ckpt"
    trainer.fit(module, pairs(TRAIN), pairs(TEST), ckpt_path=path, weights_only=True)
    assert callback.noise_aware is not None
    assert callback.noise_aware.steps_taken == STEPS
    assert same(module, whole)


def test_it_is_the_loop_that_a_user_writes(tmp_path: Path) -> None:
    module, _, _ = trained(tmp_path)
    model = Classifier().network
    with_noise = cimsim.NoiseAware(model, STEPS, **settings())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    model.train()
    for x, labels in [*pairs(TRAIN), *pairs(TRAIN)]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
        with_noise.step()
    with_noise.finish()
    assert same(module.network, model)


def test_accumulation_is_one_step(tmp_path: Path) -> None:
    _, callback, _ = trained(tmp_path, accumulate_grad_batches=3)
    assert callback.noise_aware.steps == callback.noise_aware.steps_taken == 4


def test_bfloat16(tmp_path: Path) -> None:
    _, callback, trainer = trained(tmp_path, chips=2, precision="bf16-mixed")
    assert callback.noise_aware.steps_taken == STEPS
    assert trainer.callback_metrics["chip_val_loss_std"] > 0


def test_an_interrupted_training_leaves_the_module_alone(tmp_path: Path) -> None:
    class Stops(pl.Callback):
        def on_train_batch_start(self, *arguments: Any) -> None:
            raise ValueError("enough")

    callback = NoiseAwareCallback(**settings())
    trainer = trainer_in(tmp_path, callback, callbacks=[Stops()])
    module = Classifier()
    with pytest.raises(ValueError, match="enough"):
        trainer.fit(module, pairs(TRAIN), pairs(TEST))
    assert not any(layer.trained_apart for layer in analog_layers(module).values())
    trainer_in(tmp_path, callback, epochs=1).fit(module, pairs(TRAIN), pairs(TEST))


def train_in_two(folder: Path) -> None:
    """In each of two processes, which calibrate on inputs of different sizes."""
    rank = int(os.environ["RANK"])
    given = settings(warmup=0.4, calibration=[(1 + rank) * TRAIN.x[:32]])
    os.environ["NODE_RANK"] = "0"
    own = {"strategy": "ddp", "devices": 2, "plugins": LightningEnvironment()}
    trainer = trainer_in(folder, NoiseAwareCallback(**given), **own)
    module = Classifier(learn_ranges="dac")
    trainer.fit(module, pairs(TRAIN), pairs(TEST))
    require_alike(module)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over the loopback interface")
def test_two_processes_have_one_model(tmp_path: Path) -> None:
    with start(2, train_in_two, tmp_path) as pair:
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="nois"):
        NoiseAwareCallback(nois=2.0)
    with pytest.raises(CimsimError, match="number of steps is not known"):
        trained(tmp_path, epochs=-1)
    with pytest.raises(CimsimError, match="chips must be 0 or more"):
        NoiseAwareCallback(chips=-2)
