"""``cimsim models``: the networks that are shipped."""

from __future__ import annotations

from collections.abc import Callable

from cimsim.models import card, names

Command = Callable[..., tuple[int, str, str]]


def test_list(cimsim: Command) -> None:
    code, out, _ = cimsim("models")
    assert code == 0
    assert all(name in out for name in names())


def test_card(cimsim: Command) -> None:
    code, out, _ = cimsim("models", "digits-mlp")
    assert code == 0
    assert f"digital: test accuracy {100 * card('digits-mlp').digital:.2f} %" in out
    assert "--start digits-mlp" in out


def test_unknown_name(cimsim: Command) -> None:
    code, _, err = cimsim("models", "digits")
    assert code == 2
    assert "digits-mlp" in err
