"""Which samples are held out: deterministic, stratified, and never trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.data import DataSet, load_data
from cimsim.training.data.held_out import held_out_classes, held_out_numbers
from cimsim.training.data.own.samples import Samples, data_set
from cimsim.training.data.text import WINDOW, character_text


def rows_of(part: torch.Tensor, whole: torch.Tensor) -> set[int]:
    """The numbers of samples in ``whole``."""
    number = {row.numpy().tobytes(): i for i, row in enumerate(whole)}
    return {number[row.numpy().tobytes()] for row in part}


def test_digits_are_divided_by_class_without_a_seed() -> None:
    data = load_data("digits")
    held = data.hold_out(0.1)
    assert held.held_out_x is not None
    assert held.held_out_y is not None
    assert len(held.train_x) + len(held.held_out_x) == len(data.train_x)
    assert len(held.held_out_x) == round(0.1 * len(data.train_x))
    whole, part = data.train_y.bincount().float(), held.held_out_y.bincount().float()
    assert ((part - 0.1 * whole).abs() < 1).all()
    again = load_data("digits").hold_out(0.1)
    assert torch.equal(again.held_out_x, held.held_out_x)  # type: ignore[arg-type]
    trained, kept = (rows_of(x, data.train_x) for x in (held.train_x, held.held_out_x))
    assert not trained & kept
    assert torch.equal(held.test_x, data.test_x)
    assert held.fingerprint == data.fingerprint


def test_the_limit_comes_first() -> None:
    data = load_data("digits")
    held = data.hold_out(0.25, limit=100)
    assert (len(held.train_x), len(held.part("held-out")[0])) == (75, 25)
    assert max(rows_of(held.part("held-out")[0], data.train_x)) < 100


def test_every_class_keeps_a_training_sample() -> None:
    y = torch.tensor([0] * 18 + [1] + [2])
    held = held_out_classes(y, 0.9)
    assert sorted(set(y[~held].tolist())) == [0, 1, 2]


def test_numbers_are_sampled_over_all_of_them() -> None:
    held = held_out_numbers(1000, 0.2)
    assert held.sum() == 200
    assert held[:500].sum().item() == pytest.approx(100, abs=30)
    x = torch.arange(40.0).view(40, 1).numpy()
    data = data_set("line", Samples(x, 2.5 * x[:, 0] + 0.5), None, task="regression")
    part = data.hold_out(0.25)
    assert len(part.part("held-out")[1]) == round(0.25 * len(data.train_y))


def test_held_out_text_is_the_end_of_the_training_text() -> None:
    text = bytes(range(97, 123)) * 60
    data = character_text("alphabet", text, "a file")
    held = data.hold_out(0.2)
    x, y = held.part("held-out")
    count = len(data.train_x)
    assert len(x) == round(0.2 * count)
    assert torch.equal(torch.cat((held.train_x, x)), data.train_x)
    assert torch.equal(y, data.train_y[-len(y) :])
    assert x.shape[1] == WINDOW


def test_none_held_out_is_the_same_data() -> None:
    data = load_data("digits").hold_out(0)
    assert data.held_out_x is None
    with pytest.raises(CimsimError, match="'digits' has no held-out samples"):
        data.part("held-out")


@pytest.mark.parametrize(
    ("fraction", "limit", "message"),
    [
        (1.0, None, "must be a fraction from 0 to below 1, not 1.0"),
        (-0.1, None, "must be a fraction"),
        (0.001, 100, "of the 100 training samples of 'digits' holds out 0 and leaves 100"),
    ],
)
def test_what_leaves_nothing_is_refused(fraction: float, limit: int | None, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        load_data("digits").hold_out(fraction, limit)


def test_samples_are_held_out_once() -> None:
    with pytest.raises(CimsimError, match="has held-out samples already"):
        load_data("digits").hold_out(0.1).hold_out(0.1)


def test_own_data_too(tmp_path: Path) -> None:
    lines = [f"{i % 7},{i % 3},{'abc'[i % 3]}" for i in range(90)]
    (tmp_path / "table.csv").write_text("\n".join(["u,v,kind", *lines]))
    data: DataSet = load_data(str(tmp_path / "table.csv")).hold_out(0.5)
    assert data.part("held-out")[1].unique().tolist() == [0, 1, 2]
