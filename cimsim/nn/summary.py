"""A table of a model's layers: where each is computed, and how much of the chip it occupies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn.utils import parametrize

from cimsim.array.occupancy import Occupancy, occupancy
from cimsim.markup import table
from cimsim.nn import registry
from cimsim.nn.computed import settled
from cimsim.nn.forms import require_module
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.weight_adapters import WeightAdapter
from cimsim.terminal import aligned


@dataclass(frozen=True)
class LayerSummary:
    """One layer: its name and class, its own parameters, and where it is computed.

    ``occupancy`` is None for a digital layer, ``where`` its profile or why it is digital.
    ``not_fused`` are the settings of the profile that run (in part) in plain torch, because the
    faster kernels do not cover them.
    """

    name: str
    kind: str
    parameters: int
    where: str
    occupancy: Occupancy | None = None
    not_fused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """All layers of a model that have parameters; ``str`` and notebooks show a
    table."""

    RIGHT: ClassVar[range] = range(2, 6)  # columns of numbers

    layers: tuple[LayerSummary, ...]
    parameters: int  # of the model, tied ones counted once

    @property
    def tiles(self) -> int:
        """Total number of physical tiles."""
        return sum(o.tiles for o in self._occupied)

    @property
    def cells(self) -> int:
        """Cells that hold weights."""
        return sum(o.used_cells for o in self._occupied)

    @property
    def utilization(self) -> float:
        """Share of all tiles' cells that hold weights; NaN without tiles."""
        total = sum(o.cells for o in self._occupied)
        return self.cells / total if total else float("nan")

    @property
    def _occupied(self) -> list[Occupancy]:
        return [layer.occupancy for layer in self.layers if layer.occupancy is not None]

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text: headings, one row for each layer, and the sum."""
        rows: list[tuple[str, ...]] = [
            ("layer", "kind", "parameters", "tiles", "utilization", "cells", "where")
        ]
        for layer in self.layers:
            o = layer.occupancy
            on_chip = ("", "", "") if o is None else _numbers(o.tiles, o.utilization, o.used_cells)
            name = layer.name or "(the model)"
            rows.append((name, layer.kind, f"{layer.parameters:,}", *on_chip, layer.where))
        totals = _numbers(self.tiles, self.utilization, self.cells)
        return [*rows, ("all", "", f"{self.parameters:,}", *totals, "")]

    def __str__(self) -> str:
        return aligned(self.rows(), self.RIGHT)

    def _repr_html_(self) -> str:
        headings, *rows = self.rows()
        return table(headings, rows, right=self.RIGHT)


def summary(model: nn.Module) -> Summary:
    """Every layer of ``model`` that has parameters: its profile, or why it is digital.

    Works on any model, converted or not, also on the meta device.

    >>> import torch, cimsim
    >>> net = torch.nn.Sequential(torch.nn.Embedding(10, 8), torch.nn.Linear(8, 4))
    >>> print(cimsim.summary(cimsim.convert(net, "pcm-ibm-2020")))
    layer  kind       parameters  tiles  utilization  cells  where
    0      Embedding          80                             digital: looks up, does not multiply
    1      Linear             36      1       0.01 %     64  pcm-ibm-2020, rule programmed-mean
    all                      116      1       0.01 %     64
    """
    require_module(model)
    layers = []
    counted: set[nn.Module] = set()  # with the layer whose weight they compute
    for name, module in model.named_modules():
        if module in counted:
            continue
        parameters = list(module.parameters(recurse=False))
        if parametrize.is_parametrized(module):
            parts: nn.Module = module.parametrizations
            counted.update(parts.modules())
            parameters += parts.parameters()
        own = sum(p.numel() for p in parameters)
        if isinstance(module, AnalogLayer):
            with settled(module):
                shape = tuple(module.to_matrix(module.weight.detach().to("meta")).shape)
            where = f"{module.profile.name}, rule {module.rule.name}"
            if module.digital:
                where += ", digital at the moment"
            kind = module.torch_class.__name__
            slow = module.array.not_fused
            if slow:
                where += f", without kernels for {', '.join(slow)}"
            layers.append(
                LayerSummary(name, kind, own, where, occupancy(module.array, shape), slow)
            )
        elif own:
            layers.append(LayerSummary(name, type(module).__name__, own, _why_digital(module)))
    return Summary(tuple(layers), sum(p.numel() for p in model.parameters()))


def _why_digital(module: nn.Module) -> str:
    if registry.analog_kind(module) is not None or registry.unpacked_kind(module) is not None:
        return "digital: not converted"
    if reason := registry.obstacle(module):
        return f"digital: {reason}"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "digital: looks up, does not multiply"
    if isinstance(module, WeightAdapter):
        return "digital: an adapter of the layer"
    if "norm" in type(module).__name__.lower():
        return "digital: normalizes"
    return "digital: unknown kind of layer"


def _numbers(tiles: int, utilization: float, cells: int) -> tuple[str, str, str]:
    return f"{tiles:,}", f"{100 * utilization:.2f} %", f"{cells:,}"
