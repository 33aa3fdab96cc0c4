"""The first screen: sentences and numbers of the results that exist, and no others."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from cimsim.analysis.cost.result import STUDY as COST_STUDY
from cimsim.analysis.headline import CHIP, COST, Headline
from cimsim.analysis.report.blocks import Cards, Paragraph, Part, Picture, ReportRun, Section, Story
from cimsim.analysis.report.overview import overview
from cimsim.analysis.report.page import _opened
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.studies.chip_yield import STUDY as YIELD_STUDY
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.quantities import quantity
from cimsim.runs import RunSubject
from cimsim.training.run import Run
from tests.subjects import report, sweep


def first_screen(text: str) -> str:
    """The visible text of the overview."""
    (section,) = re.findall(r'<section id="overview".*?</section>', text, re.S)
    plain = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", section, flags=re.S)
    return " ".join(unescape(plain).split())


@pytest.fixture(scope="module")
def told(own: Run) -> str:
    sweep([own], parse_axis("noise=0:2:1"), 3)
    return first_screen(report([own]))


def test_each_result_is_a_sentence_with_its_conditions(told: str, own: Run) -> None:
    cost, chips = COST_STUDY.read(own.path), YIELD_STUDY.read(own.path)
    energy, time = cost.energy_pJ.total * 1e-12, cost.latency_ns * 1e-9
    assert f"An inference takes {quantity(energy, 'J')} and {quantity(time, 's')} on" in told
    rate = chips.passing
    assert f"{rate.count} of {rate.total} chips reach" in told
    assert "tested on digits, on simulated chips of" in told
    new = re.search(r"just-programmed chip it reaches ([\d.]+) % test accuracy \((.*?)\)", told)
    assert new is not None
    assert "mean of 3 chips" in new[2]  # of the sweep, not of the one chip after training
    assert "cell." not in told


def test_numbers_are_those_of_the_sentences(told: str) -> None:
    new = re.search(r"On a just-programmed chip it reaches ([\d.]+ %)", told)
    assert new is not None
    assert f"test accuracy on a new chip {new[1]} plain" in told


def test_of_results_that_do_not_exist_nothing_is_told(trained: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    said = first_screen(report([run]))
    assert "1 chip)" in said
    for words in ("inference", "loses at most", "chips reach", "caused by", "sensitive"):
        assert words not in said


def test_outdated_results_are_not_told(own: Run, tmp_path: Path) -> None:
    changed = Run.open(shutil.copytree(own.path, tmp_path / "changed"))
    weights = changed.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    (changed.path / "SHA256SUMS").unlink()
    said = first_screen(report([changed]))
    assert "inference" not in said
    assert "mean of" not in said


def test_every_headline_is_a_sentence(own: Run) -> None:
    topics = set()
    for study in STUDIES:
        for path in study.paths(own.path):
            headline = study.read_file(path, own.path).headline
            if headline is not None:
                topics.add(headline.topic)
                assert headline.sentence.endswith(".")
                assert bool(headline.number) == bool(headline.what)
    assert {"tolerance", "cost", "yield", "age"} <= topics


def test_several_runs_share_cards_only_for_the_same_number(own: Run) -> None:
    runs = [ReportRun(i, name, RunSubject(own)) for i, name in enumerate("ab")]

    def headlines(run: ReportRun) -> Iterator[Headline]:
        yield Headline(CHIP, f"{run.name} on chips.", "1 %", "accuracy")
        yield Headline(COST, f"{run.name} costs.", "1 J", f"energy on {run.name}")

    part = Part("p", "P", lambda _: None, headlines=headlines)
    made = overview(runs, [(part, Section((Picture("<svg/>", "a figure"),)))])
    assert made is not None
    (cards,) = (block for block in made.blocks if isinstance(block, Cards))
    assert [(card.what, [run.name for run, _ in card.numbers]) for card in cards.cards] == [
        ("accuracy", ["a", "b"]),
        ("energy on a", ["a"]),
    ]
    stories, figure = (block.blocks for block in made.blocks[-2:] if not isinstance(block, Cards))  # type: ignore[union-attr]
    assert [(s.run.name, s.text) for s in stories if isinstance(s, Story)] == [
        ("a", "a on chips. a costs."),
        ("b", "b on chips. b costs."),
    ]
    assert isinstance(figure[0], Picture)


def test_energies_of_runs_that_learn_other_ranges_share_a_card(own: Run) -> None:
    cost = replace(COST_STUDY.read(own.path), on=None, changes=())
    learned = replace(cost, overrides=("dac.range.kind=learned",))
    assert cost.headline.what == learned.headline.what == "energy of an inference"
    for text in (learned.headline.sentence, learned.sheet().caption):
        assert "on pcm-ibm-2020 with learned DAC range" in text
    coarse = replace(cost, overrides=("adc.bits=4",), changes=("adc.bits=4",))
    assert coarse.headline.what == "energy of an inference with adc.bits=4"


def test_sections_are_unfolded_until_there_are_many_figures() -> None:
    def of(figures: int, detail: bool = False) -> tuple[Part, Section]:
        blocks = (Paragraph("x"), *(Picture("<svg/>", "x") for _ in range(figures)))
        return Part("p", "P", lambda _: None, detail=detail), Section(blocks)

    some = [of(1), of(9, detail=True), of(5), of(7), of(1)]
    assert list(_opened(some)) == [True, False, True, False, False]
    assert list(_opened([of(1), of(1, detail=True), of(1, detail=True)])) == [True, True, False]
