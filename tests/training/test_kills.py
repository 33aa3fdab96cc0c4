"""A few of the kills of ``python -m tests.fuzz.kills``."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.kills import kills


def test_what_is_killed_ends_as_what_is_not(tmp_path: Path) -> None:
    seen = kills(6, tmp_path, seed=1)
    assert not [name for name in seen if name.startswith("DIFFERS")], seen
    assert seen["training"] + seen["sweep"] == 6
    assert seen["runs compared"]
