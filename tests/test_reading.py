"""Files that somebody else may have made are read without waiting, or refused in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cimsim.reading import parse_json, read_bytes, read_text


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"a\r\nb\rc\n\xc3\xa9")
    assert read_bytes(file) == b"a\r\nb\rc\n\xc3\xa9"
    assert read_text(file) == "a\nb\nc\né"
    (tmp_path / "link").symlink_to(file)
    assert read_bytes(tmp_path / "link") == read_bytes(file)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        ("folder", "a folder"),
        ("nothing", "No such file"),
        ("null", "invalid file name"),
        ("large", "larger than the limit of 1000 bytes"),
        ("sparse", "larger than the limit of 1000 bytes"),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "null":
        path = tmp_path / "a\0b"
    elif kind == "large":
        path.write_bytes(b"x" * 1001)
    elif kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(10**10)
    with pytest.raises(OSError, match=r".") as caught:
        read_bytes(path, largest=1000)
    assert reason in (caught.value.strerror or "")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff", b'{"a": 1} x', b"1" * 10_000])
def test_what_is_no_json_is_one_kind_of_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
