"""Costs on disk: ``cost.json`` with everything, ``cost.csv`` with a line for each layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimsim.analysis.cost.cost import PARTS, Cost, LayerCost, Parts
from cimsim.analysis.cost.counts import Counts
from cimsim.analysis.study import read_result, table_csv
from cimsim.training.files import write_text

JSON, CSV, PICTURE = "cost.json", "cost.csv", "cost.png"
_TOTALS = ("macs", "ops", "latency_ns", "interval_ns", "tops", "tops_pipelined", "tops_per_W")
_NORMALISED = ("tops_1b", "tops_per_W_1b")


def cost_folder(run: Path) -> Path:
    """Where the cost of a run lies."""
    return run / "cost"


def cost_facts(cost: Cost) -> dict[str, Any]:
    """Everything about ``cost`` as plain data: totals first, then layers. NaN is None."""
    totals = {name: getattr(cost, name) for name in (*_TOTALS, *_NORMALISED)}
    area = cost.area_um2
    totals["tops_per_mm2"] = cost.tops_per_mm2 if area.total else None
    totals |= {"energy_pJ": _shares(cost.energy_pJ), "area_um2": _shares(area)}
    return {"totals": totals, **asdict(cost)}


def write_cost(cost: Cost, folder: Path) -> tuple[Path, Path]:
    """Write ``cost.json`` and ``cost.csv`` into ``folder``, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    json_path, csv_path = folder / JSON, folder / CSV
    write_text(json_path, json.dumps(cost_facts(cost), indent=2, allow_nan=False) + "\n")
    write_cost_csv(cost, csv_path)
    return json_path, csv_path


def write_cost_csv(cost: Cost, path: Path) -> None:
    """One line for each layer and one for all: counts, energies in pJ, latency, areas."""
    write_text(path, table_csv(_table(cost)))


def _table(cost: Cost) -> Iterator[Sequence[object]]:
    counted = [name for name in Counts.__dataclass_fields__ if name != "macs"]
    energies = [f"energy_{part}_pJ" for part in PARTS]
    areas = [f"area_{part}_um2" for part in PARTS[:-1]]
    heading = ["layer", "kind", "device", "macs", *counted, *energies, "energy_pJ"]
    yield [*heading, "latency_ns", *areas, "area_um2"]
    for layer in cost.layers:
        counts = asdict(layer.counts) if layer.counts else {}
        numbers = [layer.macs, *(counts.get(name, "") for name in counted)]
        yield [layer.name, layer.kind, layer.device, *numbers, *_sums(layer)]
    yield ["all", "", cost.profile, cost.macs, *[""] * len(counted), *_sums(cost)]


def read_cost(path: Path) -> Cost:
    """The cost that :func:`write_cost` wrote to ``path``, a ``cost.json``.

    Raises:
        CimsimError: if the file is missing or holds something else.
    """
    return read_result(path, Cost, "cimsim cost RUN")


def _sums(of: LayerCost | Cost) -> list[float]:
    """Energies, latency and areas, each with its parts first."""
    energy, area = of.energy_pJ, of.area_um2
    energies = [*(getattr(energy, part) for part in PARTS), energy.total]
    areas = [*(getattr(area, part) for part in PARTS[:-1]), area.total]
    return [*energies, of.latency_ns, *areas]


def _shares(parts: Parts) -> dict[str, float]:
    return asdict(parts) | {"total": parts.total}
