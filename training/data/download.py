"""Download of published files with verification of their SHA-256."""

from __future__ import annotations

import hashlib
import http.client
import logging
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.files import replacing

_log = logging.getLogger(__name__)
_BLOCK = 1 << 20
_PATIENCE_S = 30.0
_ADVICE = "try again, or copy the files yourself and set their folder with --data-dir"
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)


def download(url: str, sha256: str, target: Path) -> None:
    """Download ``url`` to ``target``, whose folder must exist.

    The file gets its name only when it is complete and its SHA-256 is ``sha256``. A rejected or
    interrupted download leaves no file, a killed process at most a hidden ``.part`` file.

    Raises:
        CimsimError: if the server cannot be reached or rejects the request, if the content is not
            the published file, or if ``target`` cannot be written.
    """
    _log.info("downloading %s to %s", url, target)
    with replacing(target) as part:
        received = _receive(url, part)
        if received != sha256:
            raise CimsimError(
                f"{url} did not return the published file (SHA-256 {received[:12]}…, expected "
                f"{sha256[:12]}…), possibly because of a proxy or a broken transfer; {_ADVICE}"
            )


def _receive(url: str, part: Path) -> str:
    """Stream ``url`` to ``part`` and return the SHA-256 (hex) of the content."""
    digest = hashlib.sha256()
    # Some servers reject urllib's default user agent.
    request = urllib.request.Request(url, headers={"User-Agent": "cimsim"})
    try:
        with (
            urllib.request.urlopen(request, timeout=_PATIENCE_S) as response,
            part.open("wb") as file,
        ):
            while block := response.read(_BLOCK):
                digest.update(block)
                file.write(block)
    except _NETWORK_ERRORS as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it keeps the connection open
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise CimsimError(f"cannot download {url}: {reason}; {_ADVICE}") from error
    return digest.hexdigest()
