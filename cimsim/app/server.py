"""The server of the page: on this machine only, for browsers on it only."""

from __future__ import annotations

import os
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable
from functools import partial
from typing import Any

from cimsim.app.session import Session
from cimsim.app.worker import Worker
from cimsim.errors import CimsimError

try:
    import uvicorn
    from fastapi import FastAPI
    from nicegui import ui
except ImportError:
    raise CimsimError(
        "the page needs NiceGUI, which is not installed: pip install 'cimsim-torch[app]'"
    ) from None

from cimsim.app.page import show

HOST = "127.0.0.1"
PORT = 8765


def serve(session: Session, port: int, browser: bool, announce: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        session: what the page shows.
        port: port on this machine; 0 for any that is free.
        browser: open the page in the user's browser.
        announce: called with the address of the page.

    Raises:
        CimsimError: if the port is in use or not allowed.
    """
    worker = Worker()
    with listening(port) as listener:
        port = listener.getsockname()[1]
        application = _application(session, worker, port)
        server = uvicorn.Server(
            uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1)
        )
        address = f"http://{HOST}:{port}"
        try:  # Ctrl-C as the worker starts would leave a thread that never ends
            announce(address)
            worker.prepare(lambda: session.suggested(session.start()))
            if browser and _has_display():
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            with warnings.catch_warnings():
                # When it starts, NiceGUI inspects every object, including deprecated ones of torch.
                warnings.filterwarnings("ignore", "`torch", FutureWarning)
                server.run(sockets=[listener])
        finally:
            worker.close()


def listening(port: int) -> socket.socket:
    """A socket that listens on ``port`` of this machine.

    Raises:
        CimsimError: if the port is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there, it would let two programs share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise CimsimError(
            f"port {port} cannot be used ({reason}); choose another with --port, or any free one "
            "with --port 0"
        ) from None
    return listener


def _application(session: Session, worker: Worker, port: int) -> Any:
    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(
        application,
        root=partial(show, session, worker),
        title="cimsim app",
        dark=None,  # like the system
        tailwind=False,
        language="en-US",
        show_welcome_message=False,
    )
    return LocalOnly(application, port)


class LocalOnly:
    """Refuses requests that a page of another site makes through the user's browser."""

    def __init__(self, application: Any, port: int) -> None:
        """
        Args:
            application: the application (ASGI) that gets all other requests.
            port: port of the page.
        """
        self._application = application
        self._hosts = {f"{name}:{port}".encode() for name in (HOST, "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers = dict(scope.get("headers", ()))
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if scope["type"] == "lifespan" or (
            host in self._hosts and (origin is None or origin in self._origins)
        ):
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            plain = (b"content-type", b"text/plain")
            await send({"type": "http.response.start", "status": 403, "headers": [plain]})
            await send({"type": "http.response.body", "body": b"only for this machine"})


def _has_display() -> bool:
    """Whether a browser would open a window; a browser in the terminal would take it over."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
