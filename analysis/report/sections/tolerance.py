"""How much of noise, age or rounding each run tolerates, and how two of them work together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cimsim.analysis.heat_map import Map, map_folders, read_map
from cimsim.analysis.heat_map_plot import CELLS, draw_map
from cimsim.analysis.levels import Axis
from cimsim.analysis.plot import part_of
from cimsim.analysis.report.blocks import Block, Part, Section, Shown, Words
from cimsim.analysis.report.each import drawn, refuse_old, section_of_each, told
from cimsim.analysis.tolerance import FOLDER, Tolerance, read_tolerance, tolerated_axes
from cimsim.analysis.tolerance_plot import AXIS, draw_tolerance

_COMMAND = "cimsim tolerance RUN --over noise"


def section(runs: Sequence[Shown]) -> Section | None:
    """The answers, each with its curve."""
    return section_of_each(runs, f"{FOLDER}/*.json", _tolerances)


def section_of_maps(runs: Sequence[Shown]) -> Section | None:
    """Every map of every run."""
    return section_of_each(runs, "maps/*/map.json", _maps)


def _tolerances(shown: Shown) -> Iterator[Block]:
    for axis in tolerated_axes(shown.run.path):
        yield from told(_tolerance, shown, axis)


def _tolerance(shown: Shown, axis: str) -> Iterator[Block]:
    found = read_tolerance(shown.run.path, axis)
    refuse_old(shown, found.facts.checkpoint_sha256, f"cimsim tolerance RUN --over {axis}")
    yield Words(f"{found.answer}.")
    what = f"How much {Axis(axis, ()).label.lower()} is tolerated by the model"
    figure, name = draw_tolerance(found), f"tolerance-{axis}"
    yield from drawn(shown, found, figure, what, _texts(found), name)


def _texts(found: Tolerance) -> dict[str, list[str]]:
    axis, metric = Axis(found.axis, ()), found.facts.measured
    told = [
        f"{axis.title}: {axis.format(point.level)}\n{metric.title}: {point.shown_with_unit(metric)}"
        for point in found.points
    ]
    return {part_of(0, "mean", AXIS): told}


def _maps(shown: Shown) -> Iterator[Block]:
    for folder in map_folders(shown.run.path):
        yield from told(_map, shown, folder)


def _map(shown: Shown, folder: Path) -> Iterator[Block]:
    found = read_map(folder)
    refuse_old(shown, found.facts.checkpoint_sha256, _MAP)
    what = f"{found.facts.measured.title} over {found.x} and {found.y}"
    yield from drawn(shown, found, draw_map(found), what, _cells(found), f"map-{folder.name}")


def _cells(found: Map) -> dict[str, list[str]]:
    x, y, metric = Axis(found.x, ()), Axis(found.y, ()), found.facts.measured
    return {
        CELLS: [
            f"{x.title}: {x.format(left)}\n{y.title}: {y.format(up)}\n"
            f"{metric.title}: {cell.shown_with_unit(metric)}"
            for up, row in zip(found.y_levels, found.cells, strict=True)
            for left, cell in zip(found.x_levels, row, strict=True)
        ]
    }


_MAP = "cimsim map RUN --x noise=0:4:1 --y adc.bits=8,6,5,4"
PART = Part("tolerance", "What is tolerated", section, _COMMAND, (f"{FOLDER}/*",))
MAPS = Part("maps", "Two axes at once", section_of_maps, _MAP, ("maps/*",))
