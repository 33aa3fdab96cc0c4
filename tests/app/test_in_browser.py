"""The page in a real browser: it follows its controls, by keyboard too, and asks nobody else.

Needs NiceGUI, playwright and a browser; ``CIMSIM_BROWSER`` names one that is not found by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.children import started

pytest.importorskip("nicegui", reason="the page needs NiceGUI: pip install 'cimsim-torch[app]'")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser engine: pip install playwright, and a Chromium"
)
ROOT = Path(__file__).parents[2]
# The command, which ends as soon as it asks for another machine.
_COMMAND = """
import os, sys

def refuse_others(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        place = arguments[1] if event != "socket.getaddrinfo" else arguments
        if isinstance(place, tuple) and place[0] not in ("127.0.0.1", "localhost"):
            sys.stderr.write(f"asked {place}")
            sys.stderr.flush()
            os._exit(3)

sys.addaudithook(refuse_others)
from cimsim.cli import main
sys.exit(main(sys.argv[1:]))
"""
_PATIENCE_MS = 120_000
# All four figures are there, and nothing is being computed.
_SETTLED = """document.querySelectorAll(".figures svg").length === 4
    && document.querySelectorAll(".late").length === 0
    && document.querySelector("[role=status]").innerText === "" """


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page on the shipped network, with no profile named."""
    folder = tmp_path_factory.mktemp("app")
    command = [sys.executable, "-c", _COMMAND, "app", "--no-browser", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with started(command, cwd=folder, env=env, stdout=subprocess.PIPE) as (process,):
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
        yield line
        assert process.poll() is None
    assert not list(folder.iterdir())  # nothing is written where it was started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(playwright) as running:
        yield running


class Visit:
    """A visitor of the page, and everything it complained about or asked others for."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.faults: list[str] = []
        self.asked = 0
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda socket: self._asked(socket.url))
        self.address = address
        self.page.goto(address)
        self.settle()

    def _asked(self, url: str) -> None:
        self.asked += 1
        own = (self.address, self.address.replace("http:", "ws:"), "data:", "blob:")
        if not url.startswith(own):
            self.faults.append(url)

    def settle(self) -> None:
        """Wait until everything is computed."""
        self.page.wait_for_function(_SETTLED)

    def numbers(self) -> list[str]:
        """Accuracy, energy, error of the weights, and signal-to-noise ratio."""
        return self.page.locator(".headline").all_inner_texts()  # type: ignore[no-any-return]

    def press(self, slider: str, *keys: str) -> None:
        """Move a slider by keys, and wait for what follows."""
        control = self.page.get_by_role("slider", name=slider, exact=True)
        control.focus()
        for key in keys:
            control.press(key)
        self.page.wait_for_function("document.querySelector('.late') !== null")
        self.settle()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    assert visit.faults == []
    assert visit.asked > 5
    visit.page.context.close()


def test_a_slider_changes_the_numbers_and_figures(visit: Visit) -> None:
    before = visit.numbers()
    curve = visit.page.get_by_role("region", name="Accuracy over noise")
    marked = "(region) => region.querySelector('[id$=present] use').getAttribute('x')"
    place = float(curve.evaluate(marked))
    visit.press("Noise", *["ArrowRight"] * 12)
    after = visit.numbers()
    assert after[1] == before[1]  # energy
    assert float(after[2].split()[0]) > 1.5 * float(before[2].split()[0])
    assert float(after[3].split()[0]) < float(before[3].split()[0])
    assert float(curve.evaluate(marked)) > place
    slider = visit.page.get_by_role("slider", name="Noise", exact=True)
    assert slider.get_attribute("aria-valuetext") == "2.2 times the profile's"
    visit.press("ADC", "ArrowLeft", "ArrowLeft")
    assert visit.numbers()[1] != before[1]
    assert slider.evaluate("slider => slider.value") == "22"  # and it stays there
    visit.press("Age", "End")
    assert visit.numbers()[3] != after[3]


def test_another_profile_brings_its_own_bits(visit: Visit) -> None:
    page, before = visit.page, visit.numbers()
    visit.press("DAC", "ArrowLeft")
    page.get_by_role("combobox", name="Profile").select_option(label="reram-wan-2022")
    page.wait_for_function("document.querySelector('h1').innerText.includes('reram-wan-2022')")
    visit.settle()
    slider = page.get_by_role("slider", name="DAC", exact=True)
    assert slider.get_attribute("aria-valuetext") == "4 bits"
    assert slider.evaluate("slider => JSON.parse(slider.dataset.texts)[slider.value]") == "4 bits"
    assert visit.numbers()[1] != before[1]


def test_what_a_profile_refuses_is_a_sentence(visit: Visit) -> None:
    page, status = visit.page, visit.page.get_by_role("status")
    page.get_by_role("combobox", name="Profile").select_option(label="generic-gaussian")
    page.wait_for_function("document.querySelector('h1').innerText.includes('generic')")
    visit.settle()
    adc = page.get_by_role("slider", name="ADC", exact=True)
    adc.press("End")
    page.wait_for_function("document.querySelector('[role=status].problem') !== null")
    assert "an ideal ADC has no range" in status.inner_text()
    adc.press("ArrowLeft")
    visit.settle()
    assert "problem" not in str(status.get_attribute("class"))


def test_the_commands_are_shown(visit: Visit) -> None:
    visit.press("ADC", "ArrowLeft")
    visit.page.get_by_role("button", name="Show the commands").click()
    text = visit.page.get_by_role("dialog").locator("pre").inner_text()
    assert "cimsim sweep cimsim.app.shipped:digits_mlp --over noise=0,0.5,1" in text
    assert "cimsim cost cimsim.app.shipped:digits_mlp --set adc.bits=7" in text


def test_every_control_can_be_reached_by_the_keyboard(visit: Visit) -> None:
    reached = []
    for _ in range(16):
        visit.page.keyboard.press("Tab")
        reached.append(
            visit.page.evaluate(
                "(e => e.getAttribute('aria-label') || e.innerText.trim())(document.activeElement)"
            )
        )
        style = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none" or visit.page.evaluate("document.activeElement === document.body")
    names = ["Profile", "Noise", "Age", "ADC", "DAC", "Chips", "Test samples"]
    names += ["Weights of layer", "Weights on chip", "Show the commands"]
    start = reached.index("Profile")
    assert reached[start : start + len(names)] == names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, address: str, scheme: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    visit = Visit(browser, address, **phone)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for figure in visit.page.locator(".figures svg").all():
        assert figure.bounding_box()["width"] > 300
    paper, ink = visit.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    bright = [sum(map(int, color[4:-1].split(","))) for color in (paper, ink)]
    assert (bright[0] > bright[1]) == (scheme == "light")
    assert visit.faults == []
    visit.page.context.close()
