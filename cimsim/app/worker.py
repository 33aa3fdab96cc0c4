"""One thread that computes for all pages, and drops what a page no longer needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class SupersededError(Exception):
    """The controls have moved on, so nobody needs the result."""


class Ticket:
    """The right of one position of the controls to be computed, until the next one replaces it."""

    def __init__(self) -> None:
        self._current = True

    def supersede(self) -> None:
        """Withdraw it; the computation stops at its next :meth:`check`."""
        self._current = False

    def check(self) -> None:
        """
        Raises:
            SupersededError: if the ticket was withdrawn.
        """
        if not self._current:
            raise SupersededError


class Worker:
    """A thread that computes one thing after the other, while the page stays responsive.

    Torch uses all processors for one computation, so more threads would only wait for each other.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cimsim-app")

    async def run(self, ticket: Ticket, compute: Callable[[], Result]) -> Result:
        """Return the result of ``compute``, which calls ``ticket.check`` often.

        Raises:
            SupersededError: if ``ticket`` was withdrawn before the end; a late result is dropped.
        """

        def unless_late() -> Result:
            ticket.check()
            return compute()

        result = await asyncio.get_running_loop().run_in_executor(self._pool, unless_late)
        ticket.check()
        return result

    def prepare(self, compute: Callable[[], object]) -> None:
        """Run ``compute`` before everything else, so that its results are there when they are
        needed; an error occurs again then."""
        self._pool.submit(compute)

    def close(self) -> None:
        """Start no more work; running work stops by its own checks."""
        self._pool.shutdown(wait=False, cancel_futures=True)
