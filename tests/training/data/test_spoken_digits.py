"""Spoken digits: pictures of sounds whose spectrum is known, and both ways to read them."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.training.data import load_data
from cimsim.training.data.spoken_digits import picture, read_spoken_digits


def tone(hertz: float, samples: int = 6272) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 8000)


def record(folder: Path, name: str, samples: np.ndarray, rate: int = 8000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / name), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3000.0])
def test_a_tone_is_one_bright_band(hertz: float) -> None:
    shown = picture(tone(hertz))
    assert shown.shape == (32, 48)
    edges = 700 * (10 ** (np.linspace(*_mel(50.0, 4000.0), 34) / 2595) - 1)
    nearest = int(np.abs(edges[1:-1] - hertz).argmin())
    assert (np.abs(shown.argmax(0).astype(int) - nearest) <= 1).all()


def _mel(*hertz: float) -> list[float]:
    return [2595 * float(np.log10(1 + f / 700)) for f in hertz]


def test_silence_is_black_and_short_sounds_are_in_the_middle() -> None:
    assert (picture(np.zeros(6272)) == 0).all()
    shown = picture(tone(1000.0, 1280))
    lit = np.flatnonzero(shown.max(0))
    assert abs(lit.mean() - 23.5) < 1
    assert len(lit) <= 13
    longer = np.concatenate([np.zeros(3000), tone(1000.0), np.zeros(3000)])
    assert np.array_equal(picture(longer), picture(tone(1000.0)))


def test_recordings_become_the_official_split(tmp_path: Path) -> None:
    folder = tmp_path / "fsdd" / "recordings"
    for digit in range(10):
        for index in (0, 4, 5, 12):
            record(folder, f"{digit}_anna_{index}.wav", tone(200.0 + 300 * digit + index))
    (folder / "notes.txt").write_text("not a recording")
    data = load_data("fsdd", tmp_path)
    assert data.input_shape == (1, 32, 48)
    assert data.test_y.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert len(data.train_x) == 20


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"no fsdd data .* git clone"):
        load_data("fsdd", tmp_path)
    folder = tmp_path / "recordings"
    folder.mkdir()
    with pytest.raises(CimsimError, match="contains no recordings such as"):
        read_spoken_digits(tmp_path, False)
    (folder / "1_anna_0.wav").write_bytes(b"RIFF")
    with pytest.raises(CimsimError, match=r"1_anna_0\.wav is not a readable recording"):
        read_spoken_digits(tmp_path, False)
    record(folder, "1_anna_0.wav", tone(300.0), rate=16000)
    with pytest.raises(CimsimError, match="must have 8000 Hz, one channel, 16 bits"):
        read_spoken_digits(tmp_path, False)
    (tmp_path / "fsdd_logmel.npz").write_bytes(b"PK")
    with pytest.raises(CimsimError, match="does not contain the spoken digits' images"):
        read_spoken_digits(tmp_path, False)


@pytest.mark.skipif("CIMSIM_DATA" not in os.environ, reason="CIMSIM_DATA names no data folder")
def test_the_published_recordings() -> None:
    try:
        data = load_data("fsdd")
    except CimsimError as error:
        pytest.skip(str(error))
    assert (len(data.train_x), len(data.test_x)) == (2700, 300)
    assert np.bincount(data.test_y.numpy()).tolist() == [30] * 10
