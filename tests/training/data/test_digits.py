from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cimsim.training.data import load_data


def test_digits_need_no_file(tmp_path: Path) -> None:
    data = load_data("digits", tmp_path / "nowhere")
    assert data.train_x.shape == (1437, 1, 8, 8)
    assert data.test_x.shape == (360, 1, 8, 8)
    assert np.ptp(torch.bincount(data.test_y).numpy()) <= 2  # 34 to 37 of each digit, stratified
    assert data.train_x.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.train_x.std().item() == pytest.approx(1, abs=1e-3)
    # No test image is among the training images: they were split, not drawn twice.
    train = {image.numpy().tobytes() for image in data.train_x}
    assert not any(image.numpy().tobytes() in train for image in data.test_x)


def test_the_split_of_digits_is_always_the_same() -> None:
    assert load_data("digits").fingerprint == (
        "c32f945d517e1fe0fdedda83d86fbea372fbcf63b7445ff87fe4ba4a9fe23c3b"
    )
