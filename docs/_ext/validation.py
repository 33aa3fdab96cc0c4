"""The page *Validation*: every published number beside ours, from the results of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.papers.record import LIMIT, Paper, difference_text, read_all

_INTRODUCTION = """\
# Validation

This page compares published measurements and simulations with the numbers of cimsim.
The difference is in standard errors: the error of our number, combined with that of the published
number, if it has one.
A check mark means a difference of at most {limit:g} standard errors, or a number within the
published range.
The table links to a page for each paper, with the command, time and machine of the measurement, and
with the reason for every difference.

The rows of shipped profiles count the tests that compare a device with the formulas of its paper,
written out by hand: conductances after programming and at all ages, and the noise of a read.

{agree} of {count} published numbers agree.
Of {tests} groups of tests of the shipped profiles, {passed} pass.
"""

_CHANGED = """\

## What the comparisons changed in cimsim

- No law of `cell.iv` fitted the currents of SiOx devices (Joksas 2022), so the law `poole-frenkel`
  was added.
- The drift of `sonos-agrawal-2022` now follows the fit of CrossSim 3.2; the earlier coefficients,
  which the profile had used, were replaced in CrossSim, too.
- The import of AIHWKit configurations whose largest weight is not 1 gave too little or too much
  weight noise (found with the LeNet5 of its notebook).
- The comparisons with the circuits of badcrossbar, the slices of Xiao 2022 and the weights of
  NeuRRAM required no change.
"""


def page(papers: Iterable[Paper]) -> str:
    """The page in Markdown."""
    papers = list(papers)
    published, tests = (
        [row.agrees for paper in papers if paper.tests is counted for row in paper.rows]
        for counted in (False, True)
    )
    lines = [
        _INTRODUCTION.format(
            limit=LIMIT,
            agree=sum(published),
            count=len(published),
            passed=sum(tests),
            tests=len(tests),
        ),
        "| paper | | published | cimsim | difference | |",
        "|---|---|---|---|---|---|",
    ]
    for paper in papers:
        link = f"[{paper.title}](results/papers/{paper.name}.md)"
        for number, row in enumerate(paper.rows):
            unit = f" ({row.unit})" if row.unit else ""
            lines.append(
                f"| {'' if number else link} | {row.quantity}{unit} "
                f"| {row.published.text} | {row.cimsim.text} | {difference_text(row)} "
                f"| {row.mark} |"
            )
    differing = [(paper, row) for paper in papers for row in paper.rows if not row.agrees]
    if differing:
        lines += ["", "## Where they differ", ""]
        lines += [f"- {paper.title}; {row.quantity}: {row.why}." for paper, row in differing]
    return "\n".join([*lines, _CHANGED])


def write(results: Path, file: Path) -> None:
    """Write the page from all results in a folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(read_all(results)), encoding="utf-8")
