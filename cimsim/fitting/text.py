"""The text of a file that some instrument or spreadsheet wrote."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from cimsim.errors import CimsimError

# Marks at the beginning of a file; those of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = (
    (b"PK\x03\x04", "is an Excel workbook or another archive; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook; save the sheet as CSV"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it first"),
)
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd]")
_MOST_BYTES = 2**30


def read_text(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Read a text file in whatever encoding it is.

    Args:
        path: the file.
        encoding: None recognizes a byte-order mark, UTF-16 without one, UTF-8, and takes
            Windows-1252 (which holds Latin-1) for the rest.

    Returns:
        The text with its line ends as they are, and notes on what was assumed.

    Raises:
        CimsimError: if the file cannot be read or holds no text.
    """
    try:
        # A pipe or a device may never end.
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise CimsimError(f"{path}: is not a regular file; copy the measurements into one")
        if path.stat().st_size > _MOST_BYTES:
            raise CimsimError(f"{path}: is larger than 1 GiB; fit a part of the measurements")
        data = path.read_bytes()
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    for magic, what in _OTHER_KINDS:
        if data.startswith(magic):
            raise CimsimError(f"{path}: {what}")
    text, notes = _decoded(path, data, encoding)
    text = text.removeprefix("\ufeff").removesuffix("\x1a")
    if _NO_TEXT.search(text):
        raise CimsimError(f"{path}: is no CSV file of plain text")
    return text, notes


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, list[str]]:
    if encoding is not None:
        try:
            return data.decode(encoding), []
        except (LookupError, ValueError):
            raise CimsimError(
                f"{path}: cannot be read with --encoding {encoding}; common ones are utf-8, "
                "utf-16, latin-1 and cp1252"
            ) from None
    name = next((name for mark, name in _MARKS if data.startswith(mark)), _without_mark(data))
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        if name != "utf-8":
            raise CimsimError(f"{path}: is no CSV file of plain text") from None
        # Windows-1252 leaves five bytes free; Latin-1 has a (control) character for each.
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return text, ["The file is not UTF-8; it was read as Windows-1252 (Latin-1)."]
    notes = ["The file was read as UTF-16."] if name.startswith("utf-16") else []
    return text, notes


def _without_mark(data: bytes) -> str:
    """UTF-16 shows by zeros in every second byte of a text that is mostly ASCII."""
    sample = data[:2000]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * len(sample) and not even:
        return "utf-16-le"
    if even > 0.4 * len(sample) and not odd:
        return "utf-16-be"
    return "utf-8"
