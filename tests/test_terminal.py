"""What a terminal is shown of texts that somebody else wrote."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cimsim.terminal import one_line, printable


@given(st.text())
def test_any_name_can_be_printed(name: str) -> None:
    assert one_line(name).isprintable()
    one_line(name).encode()
    if name.isprintable():
        assert one_line(name) == name


def test_what_is_no_text_is_written_out() -> None:
    assert one_line("\udcffbad\n") == r"\udcffbad\n"


@given(st.text())
def test_no_text_moves_a_cursor_or_turns_around_what_follows(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    left = {unicodedata.category(char) for char in shown if char not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
    assert shown.count("\n") == text.count("\n")


def test_ordinary_text_of_any_script_stays() -> None:
    for text in ("café, 25\u00a0µS", "日本語\u3000テスト", "مرحبا", "a\n\tb", "e\u0301 🙂"):
        assert printable(text) == text
