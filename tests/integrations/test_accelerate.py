"""``cimsim.NoiseAware`` in a loop with ``accelerate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from tests.integrations.networks import TRAIN, converted, pairs, same, settings

accelerate = pytest.importorskip("accelerate", reason="accelerate is in the extra 'integrations'")

EPOCHS, PARTS = 4, 2


@pytest.fixture(autouse=True)
def _no_state_of_other_tests() -> Iterator[None]:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def prepared(**arguments: Any) -> tuple[Any, ...]:
    """An accelerator that saves the schedule, too, and everything that it prepared."""
    accelerator = accelerate.Accelerator(
        cpu=True,
        gradient_accumulation_steps=PARTS,
        step_scheduler_with_optimizer=False,
        **arguments,
    )
    model = converted()
    steps = EPOCHS * len(pairs(TRAIN)) // PARTS
    with_noise = cimsim.NoiseAware(model, steps, **settings())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    model, optimizer, loader = accelerator.prepare(model, optimizer, pairs(TRAIN))
    accelerator.register_for_checkpointing(with_noise)
    return accelerator, model, optimizer, loader, with_noise


def train(
    accelerator: Any, model: Any, optimizer: Any, loader: Any, with_noise: Any
) -> list[float]:
    """One epoch."""
    losses = []
    model.train()
    for x, labels in loader:
        with accelerator.accumulate(model):
            loss = nn.functional.cross_entropy(model(x), labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            if accelerator.sync_gradients:
                with_noise.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_it_trains_with_one_step_per_step_of_the_optimizer(precision: str) -> None:
    parts = prepared(mixed_precision=precision)
    losses = [sum(train(*parts)) for _ in range(EPOCHS)]
    with_noise = parts[-1]
    assert losses[-1] < 0.9 * losses[0]
    assert with_noise.steps_taken == with_noise.steps
    with_noise.finish()
    cimsim.program(parts[1].eval(), 3)
    with torch.no_grad():
        assert torch.isfinite(parts[1](TRAIN.x)).all()


def test_a_resumed_training_is_the_same(tmp_path: Path) -> None:
    whole = prepared()
    for epoch in range(EPOCHS):
        if epoch == 2:
            whole[0].save_state(str(tmp_path))
        train(*whole)
    again = prepared()
    torch.manual_seed(11)
    again[0].load_state(str(tmp_path))
    assert again[-1].steps_taken == 2 * len(pairs(TRAIN)) // PARTS
    for _ in range(2, EPOCHS):
        train(*again)
    for parts in (whole, again):
        parts[-1].finish()
    assert same(whole[0].unwrap_model(whole[1]), again[0].unwrap_model(again[1]))
