"""Placement of weights around known faults."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.fault_costs import Intervals, Weights, column_costs, row_costs
from cimsim.adaptation.part import CELLS, Change, Part, on_chip
from cimsim.nn import AnalogLayer, digital, evaluating, recalibrate
from cimsim.nn.placement import Placement
from cimsim.profile import Profile

logger = logging.getLogger("cimsim")

LARGEST = 4096
"""Lines of a layer that are permuted at most: the time of an assignment grows with their cube."""


class FaultMapping(Part):
    """Weights are placed around known stuck cells and dead lines.

        minimize  sum p (scale e)^2   over permutations of columns and rows, and signs of columns

    ``e`` is what a faulty cell adds to a relative weight, and ``p`` the mean square of the input
    that it gets. Permutations are found by linear assignment, columns and rows in turn; a column
    may hold the negative of its weights; and where one cell of a pair is stuck, the other takes
    over as much as it can. Inputs and outputs are put in order digitally.

    Sources: L. Chen et al., "Accelerator-friendly neural-network training: learning variations and
    defects in RRAM crossbar" (DATE 2017): permutation; A. Malhotra and S. K. Gupta, "ReTern"
    (arXiv:2506.01140): signs, and reprogramming of the other cell.
    """

    name, title = "fault-mapping", "fault-aware mapping"
    needs = frozenset({CELLS})

    def __init__(self, rounds: int = 2, batches: int = 4) -> None:
        self.rounds, self.batches = rounds, batches

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        broken = [layer for layer in on_chip(model).values() if has_faults(layer.profile)]
        if not broken:
            return "its profile has no stuck cells and no dead lines"
        if not any(map(_is_mapped, broken)):
            return "its weights are on several slices or pairs of cells"
        return None

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = {
            name: layer
            for name, layer in on_chip(bench.model).items()
            if has_faults(layer.profile) and _is_mapped(layer)
        }
        powers = input_powers(bench, layers, self.batches)
        written = 0
        for name, layer in layers.items():
            if name in powers:
                written += self._place(layer, powers[name])
        if any(layer.adc_range.dim() for layer in layers.values()):  # ranges by column
            recalibrate(bench.model, bench.inputs(self.batches), forward=bench.forward)
        return Change(written=written)

    @torch.no_grad()
    def _place(self, layer: AnalogLayer, power: Tensor) -> int:
        """Place the weights of one layer, and return the number of cells written."""
        layer.place(None)
        weight = layer.to_matrix(layer.weight.detach())
        held, factor = layer.known_faults()
        cells = Intervals.of(held, factor)
        placement = Placement(weight)
        best = _weights(layer, placement, power).error(cells)
        before = best
        for _ in range(self.rounds):
            for improved in (_columns, _rows):
                trial = improved(layer, placement, power, cells)
                error = _weights(layer, trial, power).error(cells)
                if error < best:
                    placement, best = trial, error
        final = _weights(layer, placement, power)
        shift = cells.shift(final.relative) * final.scale
        if shift.any():
            placement.shift = shift.to(weight.dtype)
        layer.place(placement)
        logger.info("%s: squared error by faults %.3g, before %.3g", layer.name, best, before)
        return len(held) * weight.numel()


def has_faults(profile: Profile) -> bool:
    """Whether cells of the profile can be stuck or dead."""
    return any(effect.strength for effect in profile.cell.faults)


def _is_mapped(layer: AnalogLayer) -> bool:
    """Whether each weight is on one cell or one pair."""
    return layer.profile.array.slices == 1 and layer.profile.array.pairs is None


def _weights(layer: AnalogLayer, placement: Placement, power: Tensor) -> Weights:
    """The weights of ``layer`` in the order of ``placement``."""
    placed = placement.placed(layer.effective_weight())
    scale = layer.full_weight(placed)
    rest = [1] * (placed.dim() - 2)
    return Weights(placed / scale, scale, power.to(placed)[placement.rows].view(1, -1, *rest))


def _columns(
    layer: AnalogLayer, placement: Placement, power: Tensor, cells: Intervals
) -> Placement:
    """Another placement, with columns and signs assigned anew."""
    costs, signs = column_costs(_weights(layer, placement, power), cells)
    groups = getattr(layer, "groups", 1)
    if len(costs) > LARGEST:
        chosen = torch.arange(len(costs))
    else:
        size = len(costs) // groups
        chosen = torch.cat(
            [_assigned(costs[g : g + size, g : g + size]) + g for g in range(0, len(costs), size)]
        )
    trial = _copied(placement)
    signs = signs[torch.arange(len(costs)), chosen].to(placement.signs)
    chosen = chosen.to(placement.columns.device)
    trial.columns = placement.columns[chosen]
    trial.signs = placement.signs[chosen] * signs
    return trial


def _rows(layer: AnalogLayer, placement: Placement, power: Tensor, cells: Intervals) -> Placement:
    """Another placement, with rows assigned anew."""
    if getattr(layer, "groups", 1) > 1 or len(placement.rows) > LARGEST:
        return placement
    chosen = _assigned(row_costs(_weights(layer, placement, power), cells))
    trial = _copied(placement)
    trial.rows = placement.rows[chosen.to(placement.rows.device)]
    return trial


def _assigned(costs: Tensor) -> Tensor:
    """The second index for each first one, of the least sum of ``costs``."""
    from scipy.optimize import linear_sum_assignment

    _, chosen = linear_sum_assignment(costs.cpu().numpy())
    return torch.as_tensor(chosen, dtype=torch.int64)


def _copied(placement: Placement) -> Placement:
    copied = Placement(placement.columns.new_empty(len(placement.columns), len(placement.rows)))
    copied.load_state_dict(placement.state_dict())
    return copied


def input_powers(bench: Bench, layers: dict[str, AnalogLayer], batches: int) -> dict[str, Tensor]:
    """The mean square of each input (or input channel) of ``layers``, in the digital model."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str, layer: AnalogLayer, given: tuple[Tensor, ...]) -> None:
        vectors = layer.vectors(given[0]).detach()
        squares = vectors.double().square().transpose(0, 1).flatten(1)
        sums[name] = sums.get(name, 0) + squares.sum(1)
        counts[name] = counts.get(name, 0) + math.prod(squares.shape[1:])

    originals = on_chip(bench.original)
    hooks = [
        originals[name].register_forward_pre_hook(lambda layer, x, name=name: watch(name, layer, x))
        for name in layers
    ]
    try:
        with torch.no_grad(), evaluating(bench.original), digital(bench.original):
            for number in range(min(batches, len(bench.batches))):
                bench.run_original(number)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: sums[name] / counts[name] for name in sums}
