"""The server answers browsers on this machine only, and says in a sentence what it cannot do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from cimsim.errors import CimsimError

pytest.importorskip("nicegui", reason="the page needs NiceGUI: pip install 'cimsim-torch[app]'")
from cimsim.app import server
from cimsim.app.server import LocalOnly, listening
from cimsim.app.worker import Worker


def answer(kind: str = "http", **headers: str) -> str:
    """What the server does with a request."""
    seen: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        seen.append("page")

    async def send(message: dict[str, Any]) -> None:
        seen.append(str(message.get("status", message.get("code", ""))))

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "headers": pairs}
    asyncio.run(LocalOnly(page, 80)(scope, None, send))
    return seen[0]


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:80"])
def test_a_browser_on_this_machine_gets_the_page(host: str) -> None:
    assert answer(host=host) == "page"
    assert answer("websocket", host=host, origin=f"http://{host}") == "page"


def test_pages_of_other_sites_get_nothing() -> None:
    here = "127.0.0.1:80"
    assert answer(host="example.org") == "403"  # a name that was made to lead here
    assert answer(host="127.0.0.1:81") == "403"
    assert answer() == "403"
    assert answer(host=here, origin="http://example.org") == "403"
    assert answer("websocket", host=here, origin="http://example.org") == "1008"
    assert answer("websocket", host=here, origin="null") == "1008"


def test_starting_and_ending_pass() -> None:
    assert answer("lifespan") == "page"


def test_a_port_that_is_in_use_is_a_sentence() -> None:
    with listening(0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(CimsimError, match=rf"port {port} cannot be used .*--port"):
            listening(port)


def test_ctrl_c_while_the_worker_starts_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []

    def interrupted(worker: Worker, compute: object) -> None:
        started.append(worker)
        worker._pool.submit(int)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "_application", lambda *given: None)
    monkeypatch.setattr(Worker, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.serve(cast(Any, None), 0, browser=False, announce=lambda address: None)
    (thread,) = started[0]._pool._threads
    thread.join(60)
    assert not thread.is_alive()
