"""The page: complete, harmless, the same for the same runs, and honest about what is not there."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from cimsim.analysis.report.blocks import Folded, Paragraph, Part, ReportRun, Section, Table
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.errors import CimsimError
from cimsim.runs.subject import run_of
from cimsim.sealing import unsealed
from cimsim.training.run import Run
from tests.subjects import report, sweep

NASTY = "<img src=x onerror=alert(1)> & 'x' ${7*7} </script>"
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """The elements of a page: all of them closed, and what stands in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def runs(own: Run, trained: Path) -> list[Run]:
    """Two runs: of one everything was measured and more, one has a name that would be markup."""
    other = Run.open(shutil.copytree(trained, own.path.parent / NASTY.replace("/", "|")))
    sweep([other], parse_axis("noise=0:2:1"), 2)
    extra = own.path / "extra"
    extra.mkdir()
    (extra / "more.csv").write_text("layer,energy_pJ\n<b>one</b>,1.5\ntwo,2\n")
    (extra / "more.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path id="a" d="M0 0"/></svg>'
    )
    return [own, other]


@pytest.fixture(scope="module")
def text(runs: list[Run]) -> str:
    return report(runs)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def data_of(text: str) -> dict[str, dict[str, str]]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert match
    found: dict[str, dict[str, str]] = json.loads(match[1])
    return found


def test_every_section_is_there_and_linked(page: Page) -> None:
    sections = [a["id"] for a in page.of("section")]
    assert sections == [
        *("overview", "trained", "profile", "layers", "sweeps", "tolerance", "map", "budget"),
        *(
            "sensitivity",
            "advice",
            "life",
            "adapt",
            "yield",
            "cost",
            "explore",
            "results",
            "reproduce",
        ),
        *("glossary", "missing"),
    ]
    links = [a["href"] for a in page.of("a")]
    assert links == ["#main", *(f"#{key}" for key in sections[:-1]), "#top"]


def test_nothing_comes_from_elsewhere(text: str, page: Page) -> None:
    for tag, attributes in page.found:
        for key in ("src", "href", "action", "data", "poster", "xlink:href"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:")), (tag, key, value)
        assert not any(key.startswith("on") for key in attributes)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_a_run_may_be_called_anything(text: str, page: Page) -> None:
    assert not page.of("img")
    assert Counter(tag for tag, _ in page.found)["script"] == 2
    assert any("<img src=x onerror" in words for words in page.words)
    assert NASTY.replace("/", "|") in data_of(text)["files"]["runs.csv"].replace('""', '"')


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_headings_are_in_order_and_tables_have_scopes(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a["scope"] in ("col", "row") for a in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table")) > 8
    for label in page.of("svg"):
        assert label["aria-label"]


def test_figures_tell_their_values(text: str, runs: list[Run]) -> None:
    points = data_of(text)["points"]
    told = [point[3] for figure in points.values() for point in figure]
    assert any(t.startswith("plain\nNoise (multiple of the profile's): 2\nTest acc") for t in told)
    assert any("epoch 2\nTraining loss (nats): " in t for t in told)
    assert any(t.startswith("ADC resolution\nadc.bits\nall but this one: ") for t in told)
    assert any("Drift, mean" in t for t in told)
    for words in (
        "none of them\n", "+ ADC resolution\nadc.bits\nwith it: ", "adc.bits\nshare: ",
        "hidden1, adc\n",
        "hidden1\nsignal-to-noise ratio: ", "all analog, unchanged\nlost: ", "10 y: ",
        "adc.bits=4\nEnergy per inference: ", "ADC resolution (bits): 3\nTest accuracy: ",
        "of the chips (",
    ):  # fmt: skip
        assert any(words in t for t in told), words


def test_every_number_can_be_saved(text: str, page: Page) -> None:
    files = data_of(text)["files"]
    offered = {a["data-file"] for a in page.of("button") if "data-file" in a}
    assert offered == set(files)
    cells = list(csv.DictReader(io.StringIO(files["noise-digits.csv"])))
    assert len(cells) == 2 * 3 * 2
    assert {float(cell["level"]) for cell in cells} == {0.0, 1.0, 2.0}
    layers = list(csv.DictReader(io.StringIO(files["layers-plain.csv"])))
    assert sum(int(layer["parameters"]) for layer in layers) > 1000
    epochs = list(csv.DictReader(io.StringIO(files["epochs.csv"])))
    assert [row["epoch"] for row in epochs] == ["1", "2", "1", "2"]


def test_a_folder_without_a_section_of_its_own_is_shown(text: str, page: Page) -> None:
    assert "plain: extra" in page.words
    assert data_of(text)["files"]["plain-extra-more.csv"].startswith("layer,energy_pJ\n")
    assert "<b>one</b>" in page.words  # as text
    assert not page.of("b")
    assert sum("f" in str(a.get("id")) and str(a.get("id")).endswith("-a") for a in page.of("path"))


def test_what_is_missing_of_one_run_is_said(page: Page) -> None:
    said = " ".join(page.words)
    assert "Not measured yet" in said
    assert re.search(r"Error budget: *cimsim budget '[^']*<img src=x", said)
    assert not re.search(r"cimsim budget \S*/plain *\n", said.partition("Not measured yet")[2])


def test_the_same_runs_make_the_same_bytes(text: str, runs: list[Run]) -> None:
    again = [Run.open(run.path) for run in runs]
    assert report(again) == text


def test_a_run_alone_names_the_commands_of_what_is_missing(trained: Path) -> None:
    alone = Page(report([Run.open(trained)]))
    said = " ".join(alone.words)
    assert f"cimsim sweep {trained} --over noise=0:4:0.5" in said
    assert f"cimsim budget {trained}" in said
    assert "sweeps" not in [a["id"] for a in alone.of("section")]


def test_a_run_that_was_trained_again_is_not_shown_with_its_old_sweep(
    runs: list[Run], tmp_path: Path
) -> None:
    changed = Run.open(shutil.copytree(runs[0].path, tmp_path / "changed"))
    weights = changed.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    (changed.path / "SHA256SUMS").unlink()  # which would call that damage
    said = " ".join(Page(report([changed])).words)
    assert "its model is not the one that was swept over noise" in said
    old = re.findall("the model was trained again after.*?run `cimsim ([a-z]+)", said)
    assert sorted(old) == [
        *("adapt", "advise", "budget", "budget", "budget", "cost", "explore", "life", "map"),
        *("sensitivity", "tolerance", "yield"),
    ]


def test_a_fault_in_one_section_leaves_the_others(trained: Path) -> None:
    def broken(runs: object) -> Section:
        raise CimsimError("the file <x> is damaged")

    def fine(runs: object) -> Section:
        return Section((Paragraph("all well"),))

    parts = [Part("a", "A", broken), Part("b", "B", fine)]
    page = Page(report([Run.open(trained)], "Title", parts))
    assert "This cannot be shown: the file <x> is damaged" in page.words
    assert "all well" in page.words
    assert "Title" in page.words


def kept(run: Path, study: str, name: str = "") -> Path:
    """The file of the only result of a study in the folder of a run."""
    (path,) = (run / study).glob(f"{name or study}*.json")
    return path


@pytest.fixture(scope="module")
def damaged(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A run of which many files are damaged, and its page."""
    path = shutil.copytree(runs[0].path, tmp_path_factory.mktemp("damaged") / "run")
    run = Run.open(path)
    (path / "extra" / "more.svg").write_text("<svg")
    kept(path, "cost").write_text("{")
    (path / "metrics.jsonl").write_text("{")
    kept(path, "budget").write_text("{")
    tolerance = kept(path, "tolerance", "adc.bits")
    shutil.copy(tolerance, tolerance.with_name("dac.bits.json"))
    tolerance.write_text("")
    advice = json.loads(kept(path, "advice").read_text())
    del advice["request"]  # as one of an older version
    kept(path, "advice").write_text(json.dumps(advice))
    (path / "sweeps" / "noise" / "sweep.json").write_text("[]")
    return path, Page(report([run]))


def test_damaged_results_are_told_in_their_place(damaged: tuple[Path, Page]) -> None:
    said = " ".join(damaged[1].words)
    assert "more: the file is not an SVG" in said
    assert "cost_adc.bits=6.json: is damaged; run `cimsim cost" in said
    assert "metrics.jsonl is damaged or was changed" in said
    assert "Layers" in said


def test_a_damaged_result_costs_only_itself(damaged: tuple[Path, Page]) -> None:
    path, page = damaged
    said = " ".join(page.words)
    labels = {attributes.get("aria-label") for attributes in page.of("svg")}
    budget = kept(path, "budget").name
    assert f"{budget}: is damaged; run `cimsim budget" in said
    assert "Non-idealities enabled one after another, age=0s, run" in labels
    assert "The loss divided among non-idealities, run" in labels
    assert "adc.bits_within=5.json: is damaged; run `cimsim tolerance" in said
    assert "Metric over the searched range, adc.bits, within=5, run" in labels
    assert f"{kept(path, 'advice').name}: is damaged; run `cimsim advise" in said
    assert f"# {path}/budget/{budget}: is damaged" in said
    assert f"cimsim budget {path} --waterfall" in said
    assert f"cimsim sweep {path} --over adc.bits" in said
    assert "SHA-256 of the weights" in said


def test_a_study_that_was_stopped_is_not_measured(own: Run, trained: Path, tmp_path: Path) -> None:
    stopped = Run.open(shutil.copytree(trained, tmp_path / "stopped"))
    for study in ("budget", "sensitivity", "advice"):
        (stopped.path / study).mkdir()
        shutil.copy(own.path / study / "sweep.json", stopped.path / study)
    said = " ".join(Page(report([stopped])).words)
    for command in ("budget", "sensitivity", "advise"):
        assert f"cimsim {command} {stopped.path}" in said.partition("Not measured yet")[2]


def test_each_table_is_saved_under_a_name_of_its_own() -> None:
    tables = [Table("", ("run",), ((run,),), (), "cost-a-b.csv") for run in ("a b", "a-b", "a b")]
    part = Part("a", "A", lambda runs: Section((*tables, Folded("more", tuple(tables)))))
    files = data_of(report([], "Title", [part]))["files"]
    assert files == {"cost-a-b.csv": "run\na b\n", "cost-a-b-2.csv": "run\na-b\n"}


def test_the_model_itself_has_a_name(own: Run, trained: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    for study in ("cost", "sensitivity"):
        shutil.copytree(own.path / study, run.path / study)
        path = kept(run.path, study)
        result = unsealed(json.loads(path.read_text()))
        path.write_text(json.dumps(result).replace('"name": "classifier"', '"name": ""'))
    told = json.dumps(data_of(report([run]))["points"])
    assert "(the model), adc" in told
    assert told.count('"(the model)\\n') == 2 * 3  # in its section, and on the first screen


def test_a_section_is_one_small_file() -> None:
    folder = Path(__file__).parents[3] / "analysis" / "report" / "sections"
    assert all(len(file.read_text().splitlines()) < 160 for file in folder.glob("*.py"))


def test_shown_runs_keep_their_numbers(runs: list[Run]) -> None:
    seen: list[ReportRun] = []
    report(runs, parts=[Part("a", "A", lambda shown: seen.extend(shown))])  # type: ignore[func-returns-value]
    assert [(shown.number, run_of(shown.subject)) for shown in seen] == list(enumerate(runs))
