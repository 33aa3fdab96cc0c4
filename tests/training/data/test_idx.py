from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cimsim.errors import CimsimError
from cimsim.training.data.idx import read_idx

# Two images of 2x3 pixels 0..11.
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(12)])
PACKED = gzip.compress(IMAGES, mtime=0)  # the same bytes, and so the same tests, at any time


@pytest.mark.parametrize("packed", [lambda raw: raw, gzip.compress], ids=["plain", "gzip"])
def test_reads_shape_and_values(tmp_path: Path, packed) -> None:
    path = tmp_path / "images"
    path.write_bytes(packed(IMAGES))
    array = read_idx(path, 3)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><title>403", "looks like a web page"),
        (b"\n <html>", "looks like a web page"),
        (b"PK\x03\x04", "starts with bytes 50 4b 03 04"),
        (bytes([0, 0, 8, 1]) + IMAGES[4:], "not an IDX file of 3-dimensional bytes"),
        (bytes([0, 0, 0x0D, 3]) + IMAGES[4:], "not an IDX file"),
        (IMAGES[:9], "its header is truncated"),
        (IMAGES[:-1], "specifies 12 bytes, but 11 follow"),
        (IMAGES + b"x", "specifies 12 bytes, but 13 follow"),
        (IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], "is damaged"),
        (PACKED[:-9], "damaged or incomplete gzip"),
        (PACKED[:12], "damaged or incomplete gzip"),
        (PACKED[:2], "damaged or incomplete gzip"),
        (PACKED[:-6] + b"\0\0\0\0\0\0", "damaged or incomplete gzip"),
        (PACKED + b"rubbish", "damaged or incomplete gzip"),
        (gzip.compress(b"<html>", mtime=0), "looks like a web page"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(CimsimError) as error:
        read_idx(path, 3)
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)
    assert "download it again" in str(error.value)
    assert "\n" not in str(error.value)


@given(
    whole=st.sampled_from([IMAGES, PACKED]),
    cut=st.integers(0, len(IMAGES) - 1),
    extra=st.binary(max_size=4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_ends_in_another_error(
    tmp_path: Path, whole: bytes, cut: int, extra: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole[:cut] + extra)
    try:
        array = read_idx(path, 3)
    except CimsimError:
        return
    assert array.shape == (2, 2, 3)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"cannot read .*: Is a directory"):
        read_idx(tmp_path, 3)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CimsimError, match=r"cannot read .*images: Permission denied"):
        read_idx(tmp_path / "images", 3)
