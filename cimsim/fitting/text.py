"""Decoding of text files from instruments and spreadsheets."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from cimsim.errors import CimsimError

# Byte-order marks; UTF-32 comes first, because its marks start with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = (
    (b"PK\x03\x04", "an Excel workbook or another archive; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"\x1f\x8b", "compressed by gzip; decompress it first"),
)
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd]")
_MOST_BYTES = 2**30


def read_text(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Read a text file in any encoding.

    Args:
        path: the file.
        encoding: name of the encoding; None detects byte-order marks, UTF-16 without one and
            UTF-8, and falls back to Windows-1252 (a superset of Latin-1).

    Returns:
        The text with its original line endings, and notes on assumptions.

    Raises:
        CimsimError: if the file cannot be read or is not text.
    """
    try:
        # Reading a pipe or a device may never end.
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise CimsimError(f"{path}: not a regular file; copy the measurements to one")
        if path.stat().st_size > _MOST_BYTES:
            raise CimsimError(f"{path}: larger than 1 GiB; fit a part of the measurements")
        data = path.read_bytes()
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    for magic, what in _OTHER_KINDS:
        if data.startswith(magic):
            raise CimsimError(f"{path}: {what}")
    text, notes = _decoded(path, data, encoding)
    text = text.removeprefix("\ufeff").removesuffix("\x1a")
    if _NO_TEXT.search(text):
        raise CimsimError(f"{path}: not a CSV file of plain text")
    return text, notes


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, list[str]]:
    if encoding is not None:
        try:
            return data.decode(encoding), []
        except (LookupError, ValueError):
            raise CimsimError(
                f"{path}: cannot be read with --encoding {encoding}; common encodings are utf-8, "
                "utf-16, latin-1 and cp1252"
            ) from None
    name = next((name for mark, name in _MARKS if data.startswith(mark)), _without_mark(data))
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        if name != "utf-8":
            raise CimsimError(f"{path}: not a CSV file of plain text") from None
        # Windows-1252 does not define five bytes; Latin-1 defines all.
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return text, ["The file is not UTF-8; it was read as Windows-1252 (Latin-1)."]
    notes = ["The file was read as UTF-16."] if name.startswith("utf-16") else []
    return text, notes


def _without_mark(data: bytes) -> str:
    """Return the encoding: UTF-16 if every second byte of mostly ASCII text is zero, else UTF-8."""
    sample = data[:2000]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * len(sample) and not even:
        return "utf-16-le"
    if even > 0.4 * len(sample) and not odd:
        return "utf-16-be"
    return "utf-8"
