from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.names import distinct_names, printable


def test_names_are_as_short_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert distinct_names([Path("x/a"), Path("y/a"), Path("b")]) == ["x/a", "y/a", "b"]
    assert distinct_names([Path(".")]) == [tmp_path.name]
    assert distinct_names([Path("a"), Path("a/a")]) == [f"{tmp_path.name}/a", "a/a"]


@given(st.text())
def test_any_name_can_be_printed(name: str) -> None:
    assert printable(name).isprintable()
    printable(name).encode()
    if name.isprintable():
        assert printable(name) == name


def test_what_is_no_text_is_written_out() -> None:
    assert printable("\udcffbad\n") == r"\udcffbad\n"
