"""``cimsim app``: what it says before the page is there."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import LEAST_S, Start

Command = Callable[..., tuple[int, str, str]]
NICEGUI = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('nicegui')",
    reason="the page needs NiceGUI: pip install 'cimsim-torch[app]'",
)


def test_without_its_library_it_says_how_to_install_it(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "nicegui"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nicegui", None)
    monkeypatch.delitem(sys.modules, "cimsim.app.server", raising=False)
    code, out, err = cimsim("app", "--no-browser")
    assert (code, out) == (2, "")
    assert err == (
        "cimsim: error: the page needs NiceGUI, which is not installed: "
        "pip install 'cimsim-torch[app]'\n"
    )


@NICEGUI
def test_what_is_wrong_is_said_before_the_page(cimsim: Command, tmp_path: Path) -> None:
    assert "no-such" in cimsim("app", "--profile", "no-such")[2]
    code, _, err = cimsim("app", tmp_path)
    assert code == 2
    assert str(tmp_path) in err


@NICEGUI
def test_a_port_in_use(cimsim: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = cimsim("app", "--no-browser", "--port", port)
    assert (code, out) == (2, "")
    assert f"port {port} cannot be used" in err
    assert err.count("\n") == 1


@NICEGUI
def test_interrupting_ends_it(start: Callable[..., Start], tmp_path: Path) -> None:
    with start("app", "--no-browser", "--port", "0", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(LEAST_S) == 130
    assert not list(tmp_path.iterdir())
