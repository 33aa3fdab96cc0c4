"""A real browser for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(playwright: Any) -> Iterator[Any]:
    """Within the block, a running Chromium; the test is skipped if there is none.

    Args:
        playwright: the module ``playwright.sync_api``.
    """
    path = os.environ.get("CIMSIM_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)
    with playwright.sync_playwright() as engine:
        if path is None and not Path(engine.chromium.executable_path).exists():
            pytest.skip("no Chromium: name one by CIMSIM_BROWSER, or playwright install chromium")
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
