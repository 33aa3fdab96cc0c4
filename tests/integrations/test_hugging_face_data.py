"""Data sets that the library datasets saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.data import load_data
from cimsim.training.data.digits import read_digits
from cimsim.training.fit import fit

datasets = pytest.importorskip("datasets", reason="needs pip install datasets")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The first digits, with images and names of classes."""
    from PIL import Image

    parts = {}
    for name, images in zip(("train", "test"), read_digits(), strict=True):
        columns = {
            "image": [Image.fromarray(pixels[0]) for pixels in images.pixels[:100]],
            "label": images.labels[:100].tolist(),
        }
        kinds = {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=[f"digit {n}" for n in range(10)]),
        }
        parts[name] = datasets.Dataset.from_dict(columns, datasets.Features(kinds))
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "digits"))
    return tmp_path / "digits"


def saved(folder: Path, columns: dict[str, Any]) -> str:
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder / "rows"))
    return str(folder / "rows")


def test_images_are_those_that_were_saved(digits: Path, tmp_path: Path) -> None:
    data = load_data(str(digits))
    train, _ = read_digits()
    raw = torch.from_numpy(train.pixels[:100]).float()
    assert torch.allclose(data.train_x, (raw - raw.mean()) / raw.std(correction=0), atol=1e-5)
    assert data.train_y.tolist() == train.labels[:100].tolist()
    config = make_config(profile="pcm-ibm-2020", data=str(digits), epochs=1, batch_size=20)
    assert fit(config, tmp_path / "run").data.fingerprint == data.fingerprint


def test_columns_of_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=40), "b": rng.normal(size=40), "price": rng.normal(size=40)}
    spec = saved(tmp_path, columns)
    data = load_data(f"{spec}:y=price")
    assert (data.input_shape, data.task.name) == ((2,), "regression")
    assert load_data(f"{spec}:x=a,y=price").input_shape == (1,)
    with pytest.raises(CimsimError, match=r"no column is called label; name it, as :y=price"):
        load_data(spec)
    with pytest.raises(CimsimError, match=r"column 'prise'.*price"):
        load_data(f"{spec}:y=prise")


def test_lists_of_numbers(tmp_path: Path) -> None:
    spec = saved(tmp_path, {"x": np.eye(8).tolist() * 5, "label": ["a", "b"] * 20})
    data = load_data(spec)
    assert (data.input_shape, data.labels) == ((8,), ("a", "b"))


def test_a_column_of_text(tmp_path: Path) -> None:
    spec = saved(tmp_path, {"sentence": ["the cat sat on the mat"] * 100})
    assert load_data(f"{spec}:text=sentence").token == "word"
    assert load_data(f"{spec}:text=sentence,unit=character").token == "character"


def test_a_damaged_folder(digits: Path) -> None:
    (digits / "train" / "dataset_info.json").write_text("{")
    with pytest.raises(CimsimError, match=r"cannot be read as a Hugging Face data set"):
        load_data(str(digits))
