"""The section on generated text: digitally, on a new chip, and on an old one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice

from torch import nn

from cimsim.analysis.report.blocks import (
    Block,
    Heading,
    Listing,
    Part,
    ReportRun,
    Section,
    path_text,
)
from cimsim.nn import age, program
from cimsim.nn import digital as computed_digitally
from cimsim.runs.subject import finished, run_of
from cimsim.seeds import generator
from cimsim.training.data import DataSet
from cimsim.training.generate import beginning, generate

_LENGTH = {"character": 240, "word": 60}
_AGES = ("0s", "1y")
_TEMPERATURE = 0.8


def section(runs: Sequence[ReportRun]) -> Section | None:
    """Generate text from the same prompt with the same random draws, for every run on text."""
    blocks: list[Block] = []
    for run in finished(runs):
        if run.subject.token:
            blocks += _samples(run)
    return Section(tuple(blocks)) if blocks else None


def _samples(report_run: ReportRun) -> list[Block]:
    run = run_of(report_run.subject)
    data = run.data
    model, prompt = run.chip_model(run.profile), beginning(data)
    words = ["cimsim", "generate", path_text(run.path), "--prompt", prompt]
    words += ["--length", str(_LENGTH[data.token])]
    blocks: list[Block] = [Heading(report_run.name)]
    for how in (None, *_AGES):
        caption = "Digital model" if how is None else f"On chip 0 at the age of {how}"
        options = ["--digital"] if how is None else ["--age", how]
        command = f"$ {shlex.join([*words, *options])}"
        text = _written(model, data, prompt, how)
        blocks.append(Listing(caption, f"{command}\n{text}", wrapped=True))
    return blocks


def _written(model: nn.Module, data: DataSet, prompt: str, how: str | None) -> str:
    program(model, 0)
    age(model, how or 0)
    draws = generator("generate", 0)
    with computed_digitally(model) if how is None else nullcontext():
        pieces = generate(
            model, data, prompt, _LENGTH[data.token], temperature=_TEMPERATURE, rng=draws
        )
        return prompt + "".join(islice(pieces, _LENGTH[data.token]))


PART = Part("text", "Generated text", section, detail=True)
