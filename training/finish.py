"""End of a training run: final statistics, ranges, test accuracy and files."""

from __future__ import annotations

import json
from collections.abc import Iterator

from torch import Tensor

from cimsim.files import sha256_of, write_text
from cimsim.nn import calibrate, digital, program
from cimsim.nn.scoring import score
from cimsim.nn.weights_file import save_weights
from cimsim.training.checkpoint import remove_checkpoint
from cimsim.training.manifest import hash_of, read_sums, write_sums
from cimsim.training.records import ENV, METRICS, RESULT
from cimsim.training.run import (
    CHECKPOINT,
    CONFIG,
    MODEL,
    PROFILE,
    calibration_batches,
    new_model,
    refuse_not_finite,
)
from cimsim.training.sharding import whole_state
from cimsim.training.trainer import Trainer

_BATCHNORM_BATCHES = 50


def finish(trainer: Trainer) -> None:
    """Re-estimate statistics, evaluate, and write the files of a finished run.

    Processes with shards of the model evaluate it together; the first process writes.
    """
    model, config, data, out = trainer.model, trainer.config, trainer.data, trainer.out
    schedule = trainer.schedule
    schedule.take_average()
    _calibrate(trainer, missing=True)
    schedule.method.finish(model, _some_batches(trainer))
    _calibrate(trainer, missing=schedule.method.on_device)  # signals changed with the statistics
    test_x, test_y = data.test_x.to(trainer.device), data.test_y.to(trainer.device)
    with digital(model):
        plain = score(model, test_x, test_y, data.task.tally(), data.batch_size)
    program(model, config.seed)
    on_chip = score(model, test_x, test_y, data.task.tally(), data.batch_size)
    state = None if trainer.mesh is None else whole_state(model, keep=trainer.ranks.first)
    if not trainer.ranks.first:
        return
    if state is not None:
        model = new_model(config, trainer.plan.profile, trainer.plan.layers, data)
        model.load_state_dict(state)
    refuse_not_finite(model.state_dict(), trainer.not_measured, "the training diverged")
    save_weights(model, out / MODEL)
    result = {
        **{f"digital_{name}": value for name, value in plain.items()},
        "chip_seed": config.seed,
        **{f"chip_{name}": value for name, value in on_chip.items()},
        "data_fingerprint": data.fingerprint,
        "token": data.token,
        "task": data.task.name,
    }
    _write_result(trainer, json.dumps(result, indent=2) + "\n")
    remove_checkpoint(out / CHECKPOINT)


def _calibrate(trainer: Trainer, missing: bool) -> None:
    batches = calibration_batches(trainer.config, trainer.data, trainer.device)
    calibrate(trainer.model, batches, missing=missing)


def _write_result(trainer: Trainer, text: str) -> None:
    """Write the hashes of all files of the run, then ``result.json``."""
    out, before = trainer.out, read_sums(trainer.out)
    fixed = [CONFIG, PROFILE, ENV, *trainer.plan.layer_profiles()]
    sums = {name: before.get(name) or [sha256_of(out / name)] for name in fixed}
    sums[METRICS] = [trainer.metrics_hash.hexdigest()]
    sums[MODEL] = [sha256_of(out / MODEL)]
    sums[RESULT] = [hash_of(text)]
    write_sums(out, sums)
    write_text(out / RESULT, text)


def _some_batches(trainer: Trainer) -> Iterator[Tensor]:
    batches = trainer.loader.epoch(trainer.config.epochs)
    for _, (x, _) in zip(range(_BATCHNORM_BATCHES), batches, strict=False):
        yield x.to(trainer.device)
