"""Text as windows of characters."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.data import load_data
from cimsim.training.data.text import WINDOW, character_text, word_text
from cimsim.training.fit import fit

TEXT = ("to be, or not to be\n" * 200).encode()


def test_labels_are_the_next_character() -> None:
    data = character_text("play", TEXT, "play.txt")
    assert data.input_shape == (WINDOW,)
    assert data.classes == len(set(TEXT.decode()))
    assert data.train_x.dtype == torch.int64
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert torch.equal(x.flatten()[1:], y.flatten()[:-1])
    characters = sorted(set(TEXT.decode()))
    read = "".join(characters[i] for i in data.train_x[0].tolist())
    assert read == TEXT.decode()[:WINDOW]


def test_words_and_ends_of_lines() -> None:
    lines = "the cat sat on <unk> mat\n the dog\n" * 30
    data = word_text("mine", lines.encode(), (lines + "a new word").encode(), "here")
    assert data.symbols[:8] == ("the", "cat", "sat", "on", "<unk>", "mat", "<eos>", "dog")
    assert data.classes == 8 + 3
    assert data.token == "word"
    read = " ".join(data.symbols[i] for i in data.train_x[0, :10].tolist())
    assert read == "the cat sat on <unk> mat <eos> the dog <eos>"
    assert torch.equal(data.train_x.flatten()[1:], data.train_y.flatten()[:-1])
    with pytest.raises(CimsimError, match="must have more than 64 words"):
        word_text("mine", b"a b", lines.encode(), "here")


def test_large_vocabularies_are_evaluated_in_small_batches() -> None:
    data = character_text("play", TEXT, "play.txt")
    assert data.batch_size == 1000
    many = dataclasses.replace(data, classes=33_278)
    assert many.batch_size == 7
    assert load_data("digits").batch_size is None


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(CimsimError, match=r"play\.txt is not text in UTF-8"):
        character_text("play", b"\xff\xfe\x00", "play.txt")
    with pytest.raises(CimsimError, match="must have at least 660 characters, not 20"):
        character_text("play", b"to be, or not to be\n", "play.txt")
    with pytest.raises(CimsimError, match="no tinyshakespeare data in"):
        load_data("tinyshakespeare", Path("/nowhere"))


@pytest.mark.long
def test_a_transformer_learns_it_on_a_device(tmp_path: Path) -> None:
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_bytes(TEXT)
    config = make_config(
        profile="pcm-ibm-2020", data="tinyshakespeare", data_dir=tmp_path, model="gpt", epochs=3,
        batch_size=4, lr=0.003,
    )  # fmt: skip
    run = fit(config, tmp_path / "run")
    assert run.result["chip_accuracy"] > 0.5
    assert run.result["digital_loss"] < 1.5
    with pytest.raises(CimsimError, match="augment: the data set 'tinyshakespeare' has no images"):
        fit(config.model_copy(update={"augment": ("flip",)}), tmp_path / "other")


@pytest.mark.skipif("CIMSIM_DATA" not in os.environ, reason="CIMSIM_DATA names no data folder")
def test_the_published_text() -> None:
    try:
        data = load_data("tinyshakespeare")
    except CimsimError as error:
        pytest.skip(str(error))
    assert (data.classes, len(data.train_x), len(data.test_x)) == (65, 15685, 1742)


@pytest.mark.skipif("CIMSIM_DATA" not in os.environ, reason="CIMSIM_DATA names no data folder")
def test_the_published_words() -> None:
    try:
        data = load_data("wikitext-2")
    except CimsimError as error:
        pytest.skip(str(error))
    assert data.classes == 33_278
    # S. Merity et al., table 1, with <eos> counted: 2,088,628 and 245,569 words.
    assert data.train_x.numel() == (2_088_628 - 1) // WINDOW * WINDOW
    assert data.test_x.numel() == (245_569 - 1) // WINDOW * WINDOW
