"""Late results are dropped, and a computation that nobody needs stops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from cimsim.app.worker import SupersededError, Ticket, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def test_a_late_result_is_dropped(worker: Worker) -> None:
    async def scenario() -> list[str]:
        old, new, seen = Ticket(), Ticket(), []
        started, finish = threading.Event(), threading.Event()

        def slow() -> str:
            started.set()
            assert finish.wait(10)
            return "old"

        async def first() -> None:
            with pytest.raises(SupersededError):
                seen.append(await worker.run(old, slow))

        task = asyncio.create_task(first())
        await asyncio.to_thread(started.wait, 10)
        old.supersede()
        second = asyncio.create_task(worker.run(new, lambda: "new"))
        finish.set()
        seen.append(await second)
        await task
        return seen

    assert asyncio.run(scenario()) == ["new"]


def test_what_is_superseded_is_never_begun(worker: Worker) -> None:
    async def scenario() -> None:
        old = Ticket()
        old.supersede()
        with pytest.raises(SupersededError):
            await worker.run(old, lambda: pytest.fail("was computed"))

    asyncio.run(scenario())


def test_the_page_answers_while_the_worker_computes(worker: Worker) -> None:
    async def scenario() -> int:
        ticks, finish = 0, threading.Event()
        task = asyncio.create_task(worker.run(Ticket(), lambda: finish.wait(10)))
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        finish.set()
        assert await task
        return ticks

    assert asyncio.run(scenario()) == 20


def test_an_error_arrives_where_the_result_is_needed(worker: Worker) -> None:
    worker.prepare(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.run(Ticket(), lambda: 1 / 0))


def test_it_closes_without_waiting(worker: Worker) -> None:
    finish = threading.Event()
    worker.prepare(lambda: finish.wait(10))
    before = time.monotonic()
    worker.close()
    assert time.monotonic() - before < 5
    finish.set()
