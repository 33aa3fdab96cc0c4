"""Free Spoken Digit Dataset: ten digits, six speakers, fifty recordings each, as log-mel images."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import Images

_RATE_HZ, _SAMPLES, _WINDOW, _HOP, _FRAMES, _BANDS = 8000, 6272, 256, 128, 48, 32
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 4000.0
_FLOOR = 1e-6
_STEP, _OFFSET = np.float32(0.076725736), np.float32(-13.815511)  # of the 8-bit levels
_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")
_TEST = 5  # recordings 0 to 4 of each digit and speaker

_FOLDERS = ("fsdd", "free-spoken-digit-dataset", ".")
_FEATURES, _RECORDINGS = "fsdd_logmel.npz", "recordings"
_ADVICE = (
    "run git clone https://github.com/Jakobovski/free-spoken-digit-dataset there, or set its "
    "folder with --data-dir or $CIMSIM_DATA"
)


def read_spoken_digits(data_dir: Path, download: bool) -> tuple[Images, Images]:
    """Read training and test images [1, 32 bands, 48 frames] of 2,700 and 300 recordings.

    They are computed from the recordings (``recordings/7_jackson_32.wav``), or read from
    ``fsdd_logmel.npz``, which contains the same images. An image covers the middle 0.78 s:
    log(1e-6 + power in 32 triangular mel bands from 50 to 4000 Hz), Hann windows of 256 samples
    every 128 samples, in 8-bit levels. The split is the official one: recordings 0 to 4 of each
    digit and speaker are the test set. Source: Z. Jackson et al.,
    "Jakobovski/free-spoken-digit-dataset", 2018.

    Raises:
        CimsimError: if no files exist, or a file is damaged.
    """
    places = [data_dir / folder for folder in _FOLDERS]
    for place in places:
        if (place / _FEATURES).is_file():
            return _from_features(place / _FEATURES)
        if (place / _RECORDINGS).is_dir():
            return _from_recordings(place / _RECORDINGS)
    looked = " or ".join(str(place) for place in places)
    raise CimsimError(f"no fsdd data ({_FEATURES} or {_RECORDINGS}/) in {looked}; {_ADVICE}")


def _from_features(path: Path) -> tuple[Images, Images]:
    try:
        with np.load(path, allow_pickle=False) as file:
            pictures, labels, is_test = file["X"], file["label"], file["is_test"]
    except (OSError, ValueError, KeyError) as error:
        raise CimsimError(f"{path} does not contain the spoken digits' images: {error}") from None
    if pictures.shape[1:] != (_BANDS, _FRAMES) or not len(pictures) == len(labels) == len(is_test):
        raise CimsimError(f"{path} contains arrays of other shapes than the spoken digits' images")
    return _split(pictures.astype(np.uint8), labels.astype(np.int64), is_test.astype(bool))


def _from_recordings(folder: Path) -> tuple[Images, Images]:
    names = sorted(
        (match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))),
        key=lambda match: match.group(),
    )
    if not names:
        raise CimsimError(f"{folder} contains no recordings such as 7_jackson_32.wav; {_ADVICE}")
    pictures = np.stack([picture(_samples(folder / match.group())) for match in names])
    labels = np.array([int(match.group(1)) for match in names], dtype=np.int64)
    is_test = np.array([int(match.group(3)) < _TEST for match in names])
    return _split(pictures, labels, is_test)


def _split(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], is_test: NDArray[np.bool_]
) -> tuple[Images, Images]:
    train, test = (Images(pictures[part][:, None], labels[part]) for part in (~is_test, is_test))
    return train, test


def _samples(path: Path) -> NDArray[np.float64]:
    try:
        with wave.open(str(path)) as file:
            kind = file.getframerate(), file.getnchannels(), file.getsampwidth()
            if kind != (_RATE_HZ, 1, 2):
                raise CimsimError(f"{path} must have {_RATE_HZ} Hz, one channel, 16 bits")
            content = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise CimsimError(f"{path} is not a readable recording: {error}") from None
    return np.frombuffer(content, dtype="<i2").astype(np.float64) / 32768


def picture(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the log-mel image [32, 48] of a recording at 8 kHz; see :func:`read_spoken_digits`."""
    missing = _SAMPLES - len(samples)
    if missing > 0:
        middle = np.pad(samples, (missing // 2, missing - missing // 2))
    else:
        middle = samples[(-missing) // 2 :][:_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    frames = np.stack([middle[i * _HOP :][:_WINDOW] for i in range(_FRAMES)])
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    levels = (np.log(power @ _bands().T + _FLOOR) - _OFFSET) / _STEP
    return np.asarray(np.rint(levels).clip(0, 255).T, dtype=np.uint8)


def _bands() -> NDArray[np.float64]:
    """Return triangular filters evenly spaced in mel = 2595 log10(1 + f / 700 Hz)."""
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (_LOWEST_HZ, _HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, _BANDS + 2) / 2595) - 1)
    at = np.arange(_WINDOW // 2 + 1) * _RATE_HZ / _WINDOW
    left, middle, right = (edges[i : _BANDS + i, None] for i in range(3))
    triangles = np.minimum((at - left) / (middle - left), (right - at) / (right - middle))
    return np.asarray(triangles.clip(0))
