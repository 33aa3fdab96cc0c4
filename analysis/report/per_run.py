"""Sections with one part per run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ParamSpec

from cimsim.analysis.report.blocks import (
    Block,
    Heading,
    Paragraph,
    ReportRun,
    RunBlock,
    Section,
    command_for,
)
from cimsim.errors import CimsimError
from cimsim.suggest import shortened

P = ParamSpec("P")

UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
"""The classes of `CimsimError`, and of errors from numbers in a file that contradict each other."""


def section_per_run(
    runs: Sequence[ReportRun],
    applies: Callable[[ReportRun], bool],
    blocks: Callable[[ReportRun], Iterable[Block]],
    optional: bool = False,
) -> Section | None:
    """Make a part for each run, under its name; ``None`` if no run has results.

    Args:
        runs: runs of the report.
        applies: whether a run has results.
        blocks: blocks of a run that has results; an error in them is shown in their place.
        optional: whether the section leaves out which runs have no results.
    """
    present = [applies(run) for run in runs]
    if not any(present):
        return None
    parts: list[Block] = []
    alone = sum(present) == 1
    for run, there in zip(runs, present, strict=True):
        if there:
            own = (Heading(run.name), *guard_errors(blocks, run))
            parts.append(RunBlock(run.number, own, alone))
    missing = (run for run, there in zip(runs, present, strict=True) if not (optional or there))
    return Section(tuple(parts), tuple(missing))


def guard_errors(
    blocks: Callable[P, Iterable[Block]], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Block]:
    """Yield the blocks of one result, or a paragraph with the error in it."""
    try:
        yield from tuple(blocks(*args, **kwargs))
    except UNFIT as error:
        yield cannot_be_shown(error)


def cannot_be_shown(error: Exception) -> Paragraph:
    """The paragraph that replaces something that cannot be shown because of ``error``."""
    return Paragraph(f"This cannot be shown: {reason_of(error)}", remark=True)


def reason_of(error: Exception) -> str:
    """Why a result cannot be used, in one sentence."""
    if isinstance(error, CimsimError):
        return str(error)
    what = f"{type(error).__name__}: {shortened(str(error))}"
    return f"the numbers in its file contradict each other ({what})"


def require_current_model(run: ReportRun, fingerprints: str, command: str) -> None:
    """
    Raises:
        CimsimError: if the run's model has none of the hashes in ``fingerprints``.
    """
    if run.subject.fingerprint not in fingerprints:
        raise CimsimError(
            "the model was trained again after this result was computed; run "
            f"`{command_for(command, run)}` again"
        )
