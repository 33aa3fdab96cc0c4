"""Configurations made by a function of the user."""

from pathlib import Path

import pytest

from cimsim.errors import CimsimError
from cimsim.exchange.origin import import_profile


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; sys.exit(7)", r"my_exits_\d:make' failed: .*my_exits_\d.py:2: SystemExit: 7"),
        (r"raise ValueError('a\nb')", r"my_exits_\d:make' failed: .*:2: ValueError: a$"),
    ],
)
def test_a_function_that_fails_or_exits_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    module = f"my_exits_{len(body) % 10}"
    (tmp_path / f"{module}.py").write_text(f"def make():\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CimsimError, match=message):
        import_profile(f"{module}:make")
