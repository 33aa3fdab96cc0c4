"""What a move of a control shows, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cimsim.app.session import Session
from cimsim.app.setting import Setting
from cimsim.app.shipped import digits_mlp
from cimsim.app.updates import CAPTIONS, CURVE, Update, updates
from cimsim.app.worker import SupersededError, Ticket, Worker
from cimsim.errors import CimsimError

START = Setting("digits-mlp", chips=1, samples=20, layer="hidden2")


@pytest.fixture(scope="module")
def session() -> Session:
    return Session([digits_mlp()])


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def follow(session: Session, worker: Worker, setting: Setting) -> list[Update]:
    async def collected() -> list[Update]:
        return [update async for update in updates(worker, session, setting, Ticket())]

    return asyncio.run(collected())


def test_numbers_come_before_figures(session: Session, worker: Worker) -> None:
    shown = follow(session, worker, replace(START, age_s=5.0))
    assert [u.part for u in shown[:4]] == ["accuracy", "energy", "weights", "signals"]
    assert all(u.headline and u.details and not u.svg for u in shown[:4])
    assert {u.caption for u in shown[:4]} == {"Test accuracy", *CAPTIONS.values()} - {"Accuracy"}
    assert {u.part for u in shown[4:]} == {"weights", "signals", "energy", CURVE}
    for update in shown[4:]:
        root = ElementTree.fromstring(update.svg)
        assert root.get("aria-label")
        assert root.get("role") == "img"
    assert shown[-1].part == CURVE
    assert not shown[-1].progress
    text = shown[0].details
    assert text[1].startswith("On the first 20 of 360 test samples. Other test samples would")
    assert shown[1].headline.endswith("J")
    assert "generic prices" in shown[1].details[1]


def test_the_curve_marks_the_present_noise(session: Session, worker: Worker) -> None:
    before = next(u for u in reversed(follow(session, worker, START)) if u.part == CURVE)
    after = follow(session, worker, replace(START, noise=2.2))
    assert [u.part for u in after].index(CURVE) == 4  # at once, since the other levels are there
    place = [_present(u.svg) for u in (before, after[4])]
    assert place[0] < place[1]
    energies = [u.svg for u in (*follow(session, worker, START), *after) if u.part == "energy"]
    assert len({svg for svg in energies if svg}) == 1  # drawn once


def _present(svg: str) -> float:
    root = ElementTree.fromstring(svg)
    (ring,) = [e for e in root.iter() if str(e.get("id")).endswith("present")]
    (use,) = ring.iter("use")
    return float(use.get("x", "nan"))


def test_it_stops_for_the_next_position(session: Session, worker: Worker) -> None:
    setting = replace(START, age_s=3600.0)

    async def moved() -> list[str]:
        ticket, seen = Ticket(), []
        with suppress(SupersededError):
            async for update in updates(worker, session, setting, ticket):
                seen.append(update.part)
                if update.part == "energy":
                    ticket.supersede()
        return seen

    assert asyncio.run(moved()) == ["accuracy", "energy"]
    assert session.finished(setting) == [1.0]


def test_a_profile_that_does_not_fit_is_a_sentence(session: Session, worker: Worker) -> None:
    with pytest.raises(CimsimError, match="an ideal ADC has no range"):
        follow(session, worker, replace(START, profile="generic-gaussian", adc_bits="ideal"))
