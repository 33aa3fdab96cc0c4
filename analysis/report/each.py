"""Sections about one run after the other: what was found of it, or what finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ParamSpec

from matplotlib.figure import Figure

from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Heading,
    OfRun,
    Picture,
    Section,
    Shown,
    Table,
    Words,
    file_name,
    typed,
)
from cimsim.analysis.store import PLAN
from cimsim.analysis.study import Result, Sheet
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.suggest import shortened

P = ParamSpec("P")

UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
"""What a `CimsimError` is, and what numbers raise that were read from a file and, each by itself,
are what they should be."""


def section_of_each(
    runs: Sequence[Shown],
    files: str,
    blocks: Callable[[Shown], Iterable[Block]],
    others: bool = True,
) -> Section | None:
    """A part for each run, under its name and switched with it; ``None`` if no run has ``files``.

    Args:
        files: a pattern of what the results of a run lie in; the plan of their cells is none.
        blocks: what is to be said of a run that has results; a fault in them is told in their
            place.
        others: whether results of the other runs are missing.
    """
    found = [any(p.name != PLAN for p in shown.run.path.glob(files)) for shown in runs]
    if not any(found):
        return None
    parts: list[Block] = []
    for shown, there in zip(runs, found, strict=True):
        if there:
            parts.append(OfRun(shown.number, (Heading(shown.name), *told(blocks, shown))))
    without = (shown for shown, there in zip(runs, found, strict=True) if others and not there)
    return Section(tuple(parts), tuple(without))


def told(
    blocks: Callable[P, Iterable[Block]], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Block]:
    """What ``blocks`` says of one result; a fault in it is said in its place."""
    try:
        yield from tuple(blocks(*args, **kwargs))
    except UNFIT as error:
        yield cannot_be_shown(error)


def cannot_be_shown(error: Exception) -> Words:
    """What stands in the place of something that ``error`` keeps from being shown."""
    return Words(f"This cannot be shown: {reason_of(error)}", remark=True)


def reason_of(error: Exception) -> str:
    """Why a result cannot be used, in one sentence."""
    if isinstance(error, CimsimError):
        return str(error)
    what = f"{type(error).__name__}: {shortened(str(error))}"
    return f"the numbers in its file do not fit each other ({what})"


def refuse_old(shown: Shown, checkpoint_sha256: str, command: str) -> None:
    """
    Raises:
        CimsimError: if the run's model has none of the hashes in ``checkpoint_sha256``.
    """
    if shown.run.checkpoint_sha256 not in checkpoint_sha256:
        raise CimsimError(
            "the model was trained again since, and is not the one that this was measured of; run "
            f"the same `{typed(command, shown.run)}` again"
        )


def drawn(
    shown: Shown,
    result: Result,
    figure: Figure,
    what: str,
    texts: dict[str, list[str]],
    name: str,
) -> tuple[Picture, Folded]:
    """A result's picture, and its numbers below it; ``name`` tells its file from others."""
    return (
        Picture(figure, f"{what} of {shown.name}", texts),
        Folded("In numbers", (numbers(result, result.sheet(), f"{name}-{shown.name}"),)),
    )


def numbers(result: Result, sheet: Sheet, name: str) -> Table:
    """A sheet, from which the long table of the result is saved."""
    csv, file = table_csv(result.table()), file_name(f"{name}.csv")
    return Table(sheet.caption, sheet.headings, sheet.rows, sheet.right, file, csv)
