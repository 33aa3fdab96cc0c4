"""What an inference costs on each run's chip, and how accuracy is bought with energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.cost import PARTS, Cost, draw_cost, read_cost
from cimsim.analysis.explore import Exploration, read_exploration
from cimsim.analysis.explore_plot import DESIGNS, draw_front
from cimsim.analysis.names import layer_name
from cimsim.analysis.report.blocks import Block, Folded, Part, Section, Shown, Table, Words
from cimsim.analysis.report.each import drawn, numbers, refuse_old, section_of_each
from cimsim.analysis.store import EXPLORE

_COMMAND = "cimsim cost RUN"
_EXPLORE = "cimsim explore RUN --over adc.bits=4,5,6,8"


def section(runs: Sequence[Shown]) -> Section | None:
    """Energy, time and area of each run."""
    return section_of_each(runs, "cost/cost.json", _cost)


def section_of_designs(runs: Sequence[Shown]) -> Section | None:
    """The designs on the front, for each run that a search began with."""
    return section_of_each(runs, f"{EXPLORE}/explore.json", _designs, others=False)


def _cost(shown: Shown) -> Iterator[Block]:
    found = read_cost(shown.run.path)
    if found.checkpoint_sha256:  # not where it was only known as a model
        refuse_old(shown, found.checkpoint_sha256, _COMMAND)
    energy, area = found.energy_pJ.total, found.area_um2.total
    yield Words(
        f"An inference takes {energy * 1e-3:.4g} nJ and {found.latency_ns * 1e-3:.4g} µs on "
        f"{area * 1e-6:.4g} mm² of {found.profile}."
    )
    yield from (Words(text, remark=True) for text in found.warnings)
    yield from drawn(shown, found, draw_cost(found), "Cost by layer and part", _bars(found), "cost")
    rates = found.rates()
    table = Table(rates.caption, rates.headings, rates.rows, rates.right)
    yield Folded("TOPS and TOPS/W", (table,))


def _bars(found: Cost) -> dict[str, list[str]]:
    whole = found.energy_pJ.total
    return {
        part: [
            f"{layer_name(layer.name)}, {part}\n"
            f"{nJ:.4g} nJ, {100e3 * nJ / whole:.3g} % of the whole\n"
            f"layer: {layer.energy_pJ.total * 1e-3:.4g} nJ, {layer.latency_ns * 1e-3:.4g} µs"
            for layer in found.layers
            for nJ in [getattr(layer.energy_pJ, part) * 1e-3]
        ]
        for part in PARTS
    }


def _designs(shown: Shown) -> Iterator[Block]:
    found = read_exploration(shown.run.path)
    refuse_old(shown, found.facts.checkpoint_sha256, _EXPLORE)
    yield Words(f"{found.answer}: no other one is as good for less.")
    yield from (Words(text, remark=True) for text in found.warnings)
    picture, _ = drawn(
        shown, found, draw_front(found), "Accuracy against cost", _points(found), EXPLORE
    )
    yield picture
    yield numbers(found, found.sheet(), f"{EXPLORE}-{shown.name}")


def _points(found: Exploration) -> dict[str, list[str]]:
    metric, cost = found.facts.measured, found.objective
    return {
        DESIGNS: [
            f"{point.run} on {point.device}\n{point.changes}\n{cost.title}: {cost.of(point):.4g} "
            f"{cost.unit}\n{metric.title}: {point.score.shown_with_unit(metric)}"
            for point in found.points
        ]
    }


PART = Part("cost", "Cost", section, _COMMAND, ("cost/*",))
DESIGNS_PART = Part(
    "explore", "Accuracy against cost", section_of_designs, _EXPLORE, (f"{EXPLORE}/*",)
)
