from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.analysis.labels import distinct_names


def test_names_are_as_short_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert distinct_names([Path("x/a"), Path("y/a"), Path("b")]) == ["x/a", "y/a", "b"]
    assert distinct_names([Path(".")]) == [tmp_path.name]
    assert distinct_names([Path("a"), Path("a/a")]) == [f"{tmp_path.name}/a", "a/a"]
