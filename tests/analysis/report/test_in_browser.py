"""The page in a real browser: no error, figures drawn, usable by keyboard and on a phone.

Needs playwright and a browser; ``CIMSIM_BROWSER`` names one that is not found by itself. The test
of accessibility also needs axe-core: ``npm install axe-core`` in this folder or one above, or its
``axe.min.js`` in ``CIMSIM_AXE``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.training.run import Run
from tests.browser import chromium
from tests.subjects import report, sweep

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser engine: pip install playwright, and a Chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def file(own: Run, trained: Path) -> Path:
    """A report on two runs: of one everything was measured, of the other two sweeps."""
    folder = own.path.parent
    other = Run.open(shutil.copytree(trained, folder / "<img src=x onerror=alert(1)>"))
    sweep([own, other], parse_axis("noise=0:2:1"), 2)
    sweep([own, other], parse_axis("adc.bits=ideal,6,4"), 2)
    path = folder / "report.html"
    path.write_text(report([own, other]), encoding="utf-8")
    return path


class Seen:
    """A page, and everything it complained about or asked the network for."""

    def __init__(self, browser: Any, file: Path, unfold: bool = True, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", self._asked)
        self.page.goto(file.as_uri())
        if unfold and context.get("java_script_enabled", True):
            self.page.get_by_role("button", name="Unfold all").click()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(request.url)


SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


_SMALL_TEXTS = """figure => [...figure.querySelectorAll("text")]
    .filter(text => !/rotate\\(-?[1-9]/.test(text.getAttribute("transform")))
    .map(text => [text.textContent, text.getBoundingClientRect().height])
    .filter(([text, height]) => height && height < 8)
"""


@pytest.mark.parametrize("size", SIZES)
def test_it_is_drawn_without_a_fault(browser: Any, file: Path, size: str) -> None:
    seen = Seen(browser, file, **SIZES[size])
    page = seen.page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    figures = page.locator("figure:visible").all()
    assert len(figures) == 17
    for figure in figures:
        drawn = figure.locator("svg").bounding_box()
        assert drawn["width"] > 300
        assert drawn["height"] > 150
        assert figure.evaluate("e => e.scrollWidth <= e.clientWidth")  # nothing to scroll sideways
        assert figure.evaluate(_SMALL_TEXTS) == []
        assert figure.locator("svg [data-run], svg path").count() > 10
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    bright = [sum(map(int, color[4:-1].split(","))) for color in (paper, ink)]
    assert (bright[0] > bright[1]) == (size != "dark")
    assert page.locator("figure svg.plate").count() == 0  # heat maps have no paper of their own
    label = page.locator("#sweeps figure text").first
    assert label.evaluate("e => getComputedStyle(e).fill") != paper
    assert seen.faults == []


def test_at_first_it_has_at_most_ten_screens(browser: Any, file: Path) -> None:
    page = Seen(browser, file, False, viewport={"width": 1280, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollHeight") <= 10 * 800
    answer = page.locator("#overview .cards").bounding_box()
    assert answer["y"] + answer["height"] < 500
    assert page.locator("#overview figure").bounding_box()["y"] < 500
    assert not page.get_by_text("Every number of the profile").is_visible()
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert page.locator("figure:visible").count() == 0


def test_a_link_unfolds_its_section(browser: Any, file: Path) -> None:
    seen = Seen(browser, file, False)
    assert not seen.page.locator("#glossary dl").is_visible()
    seen.page.get_by_role("link", name="Glossary").click()
    assert seen.page.locator("#glossary dl").is_visible()
    seen.page.locator("#glossary summary").click()
    assert not seen.page.locator("#glossary dl").is_visible()
    seen.page.get_by_role("link", name="Glossary").click()  # the address stays the same
    seen.page.locator("#glossary dl").wait_for()
    assert seen.faults == []


def _axe() -> str:
    places = [Path(parent, "node_modules/axe-core/axe.min.js") for parent in Path(__file__).parents]
    named = os.environ.get("CIMSIM_AXE")
    found = next(filter(Path.is_file, [Path(named)] if named else places), None)
    if found is None:
        pytest.skip("no axe-core: npm install axe-core, or name its axe.min.js by CIMSIM_AXE")
    return found.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
def test_axe_has_nothing_serious_to_say(browser: Any, file: Path, size: str) -> None:
    axe = _axe()
    page = Seen(browser, file, bypass_csp=True, **SIZES[size]).page
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    page.evaluate(axe)
    violations = page.evaluate("axe.run().then(result => result.violations)")
    serious = [v["id"] for v in violations if v["impact"] in ("serious", "critical")]
    assert serious == []


def test_runs_and_axes_go_off_and_on(browser: Any, file: Path) -> None:
    seen = Seen(browser, file)
    page = seen.page
    curve = page.locator("#sweeps figure:visible [data-run='1'][id$='mean']").first
    assert curve.is_visible()
    box = page.get_by_role("checkbox", name="<img src=x onerror=alert(1)>")
    box.uncheck()
    assert not curve.is_visible()
    assert page.locator("#sweeps figure:visible [data-run='0'][id$='mean']").first.is_visible()
    assert page.locator("#cost figure").is_visible()
    box.check()
    assert curve.is_visible()
    first = page.get_by_role("checkbox", name="plain")
    first.uncheck()  # what is about that run only goes altogether
    assert not page.locator("#cost figure").is_visible()
    assert not page.locator("#life figure").is_visible()
    first.check()
    assert page.locator("#life [id$='way-0-mean']").is_visible()
    page.get_by_role("checkbox", name="ADC resolution").uncheck()
    assert page.locator("#sweeps figure:visible").count() == 1
    page.get_by_role("radio", name="Test loss").locator("visible=true").check()
    assert "loss" in page.locator("#sweeps figure:visible svg").get_attribute("aria-label")
    assert seen.faults == []


def test_values_are_told_under_the_pointer_and_by_keys(browser: Any, file: Path) -> None:
    seen = Seen(browser, file)
    page, tip = seen.page, seen.page.locator("#tip")
    figure = page.locator("#sweeps figure:visible").first
    marker = figure.locator("[id$='run-0-mean'] use").nth(1)
    marker.scroll_into_view_if_needed()
    place = marker.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    assert tip.is_visible()
    assert "Noise (multiple of the profile's): 1\nTest accuracy (%): " in tip.inner_text()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    figure.focus()
    told = []
    for _ in range(3):  # on from the point under the pointer, then along the next run
        page.keyboard.press("ArrowRight")
        told.append(tip.inner_text().splitlines()[1])
    assert told == [f"Noise (multiple of the profile's): {level}" for level in (2, 0, 1)]
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert seen.faults == []


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("cost", "hidden1, array\n"),
        ("map", "Noise (multiple of the profile's): 0\nADC resolution (bits): 3\nTest acc"),
        ("explore", "plain on pcm-ibm-2020\nadc.bits=4\nEnergy per inference: "),
        ("life", "compensated per layer (as in the profile)\n1 min: "),
        ("adapt", "before\n"),
        ("yield", "threshold "),
        ("sensitivity", "alone on the chip: "),
        ("advice", "all analog, unchanged\nlost: "),
    ],
)
def test_every_study_tells_its_values(browser: Any, file: Path, section: str, told: str) -> None:
    seen = Seen(browser, file)
    figure = seen.page.locator(f"#{section} figure").first
    figure.focus()
    seen.page.keyboard.press("ArrowRight")
    tip = seen.page.locator("#tip")
    assert told in tip.inner_text()
    mark, frame = figure.locator("circle.at").bounding_box(), figure.locator("svg").bounding_box()
    assert frame["x"] <= mark["x"] + 7 <= frame["x"] + frame["width"]
    assert frame["y"] <= mark["y"] + 7 <= frame["y"] + frame["height"]
    assert seen.faults == []


def test_everything_can_be_reached_by_the_keyboard(browser: Any, file: Path) -> None:
    page = Seen(browser, file).page
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + document.activeElement.id"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none" or page.evaluate("document.activeElement === document.body")
    assert {"A", "INPUT", "BUTTON", "SUMMARY", "PRE", "DIV"} <= reached
    assert sum(name.startswith("FIGURE") for name in reached) == 17


def test_a_table_is_saved_as_a_file(browser: Any, file: Path, tmp_path: Path) -> None:
    seen = Seen(browser, file, accept_downloads=True)
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="Download runs.csv").click()
    saved = tmp_path / "runs.csv"
    download.value.save_as(saved)
    assert saved.read_text(encoding="utf-8").splitlines()[0].startswith("run,data,model,profile")
    assert seen.faults == []


def test_without_scripts_everything_is_there(browser: Any, file: Path) -> None:
    page = Seen(browser, file, java_script_enabled=False).page
    assert page.locator("figure").count() == 19  # both metrics of both axes
    assert page.locator("#sweeps figure:visible").count() == 4
    assert page.locator("button:visible").count() == 0
    assert page.locator("input:visible").count() == 0


def test_it_prints(browser: Any, file: Path) -> None:
    page = Seen(browser, file, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.locator("button:visible").count() == 0
    color = "getComputedStyle(document.body).color"
    assert page.evaluate(color) == "rgb(0, 0, 0)"
    page.evaluate("document.getElementById('fold').click()")
    page.evaluate("""
        window.addEventListener("beforeprint", () => {
          document.title = document.querySelectorAll("details.part:not([open])").length;
        });
    """)
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.title() == "0"  # every section is unfolded on paper
    assert page.locator("details.part[open]").count() == 0
