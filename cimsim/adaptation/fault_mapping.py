"""Placement of weights around known faults."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.fault_costs import Intervals, Weights, costs
from cimsim.adaptation.inputs import observed_inputs
from cimsim.adaptation.measured import checked_count
from cimsim.adaptation.part import CELLS, Change, Part, on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, recalibrate
from cimsim.nn.input_gains import per_weight
from cimsim.nn.placement import Placement
from cimsim.profile import Profile

logger = logging.getLogger("cimsim")

BLOCK = 512
"""Lines that are permuted among each other, as on one tile: the time of an assignment grows with
the cube of their number."""


class FaultMapping(Part):
    """Weights are placed around known stuck cells and dead lines.

        minimize  sum p (scale e)^2   over permutations of columns and rows, and signs of columns

    ``e`` is the error that a faulty cell adds to a relative weight, and ``p`` the mean square of
    its input. Permutations are found by linear assignment, columns and rows in turn, among 512
    neighbors. If the profile has ``array.spare_columns``, the weights of the worst columns are
    written to spare columns. A column may store the negative of its weights, and if one cell of a
    pair is stuck, the other one compensates for it as far as possible. Inputs and outputs are
    reordered digitally. Faults in the reference of an offset column are not considered.

    Sources: L. Chen et al., "Accelerator-friendly neural-network training: learning variations and
    defects in RRAM crossbar" (DATE 2017): permutation and redundant columns; A. Malhotra and
    S. K. Gupta, "ReTern" (arXiv:2506.01140): signs, and reprogramming of the other cell.
    """

    name, title = "fault-mapping", "fault-aware mapping"
    needs = frozenset({CELLS})

    def __init__(self, rounds: int = 2, batches: int = 4) -> None:
        self.rounds, self.batches = rounds, checked_count(batches)
        if rounds < 0:
            raise CimsimError(f"rounds must be 0 or more, not {rounds}")

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        broken = [layer for layer in on_chip(model).values() if has_faults(layer.profile)]
        if not broken:
            return "its profile has no stuck cells and no dead lines"
        if not any(map(is_mapped, broken)):
            return "its weights are on several slices or pairs of cells"
        return None

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = {
            name: layer
            for name, layer in on_chip(bench.model).items()
            if has_faults(layer.profile) and is_mapped(layer)
        }
        inputs = observed_inputs(bench, layers, self.batches)
        written = 0
        for name, seen in inputs.items():
            written += self._place(layers[name], seen.power)
        if any(layer.adc_range.dim() for layer in layers.values()):  # ranges by column
            recalibrate(bench.model, bench.inputs(self.batches), forward=bench.forward)
        return Change(written=written)

    @torch.no_grad()
    def _place(self, layer: AnalogLayer, power: Tensor) -> int:
        """Place the weights of one layer, and return the number of cells written."""
        layer.place(None)
        weight = layer.written_weight()
        held, factor = layer.known_faults()
        cells = Intervals.of(held, factor)
        placement = Placement(weight)
        before = best = _weights(layer, placement, power)[0].error(cells)
        for _ in range(self.rounds):
            for improved in (_columns, _rows):
                trial = improved(layer, placement, power, cells)
                error = _weights(layer, trial, power)[0].error(cells)
                if error < best:
                    placement, best = trial, error
        final, full = _weights(layer, placement, power)
        shift = cells.shift(final.relative) * full
        if shift.any():
            placement.shift = shift.to(layer.weight.dtype)  # with which it is cast and loaded
        layer.place(placement)
        logger.info(
            "%s: squared error due to faults: %.3g (before: %.3g)", layer.name, best, before
        )
        return len(held) * weight.numel()


def has_faults(profile: Profile) -> bool:
    """Whether cells of the profile can be stuck or dead."""
    return any(effect.strength for effect in profile.cell.faults)


def is_mapped(layer: AnalogLayer) -> bool:
    """Whether each weight is on one cell or one pair."""
    return layer.profile.array.slices == 1 and layer.profile.array.pairs is None


def _weights(layer: AnalogLayer, placement: Placement, power: Tensor) -> tuple[Weights, Tensor]:
    """The weights of ``layer`` in the order of ``placement``, and those of full conductance."""
    weight = layer.scaled_weight()
    placed = placement.placed(layer.with_spares(weight))
    full = layer.full_weight(placed)
    counted = layer.with_spares(per_weight(power, weight).expand_as(weight))
    return Weights(placed / full, full.square() * placement.placed(counted).abs()), full


def _columns(
    layer: AnalogLayer, placement: Placement, power: Tensor, cells: Intervals
) -> Placement:
    """Another placement, with columns and signs assigned again."""
    weights, _ = _weights(layer, placement, power)
    chosen, signs = _assigned(weights, cells, layer.groups_of_columns, signs=True)
    trial = _copied(placement)
    trial.columns = placement.columns[chosen]
    trial.signs = placement.signs[chosen] * signs
    return trial


def _rows(layer: AnalogLayer, placement: Placement, power: Tensor, cells: Intervals) -> Placement:
    """Another placement, with rows assigned again."""
    weights, _ = _weights(layer, placement, power)
    chosen, _ = _assigned(weights.turned(), cells.turned(), 1, signs=False)
    trial = _copied(placement)
    trial.rows = placement.rows[chosen]
    return trial


def _assigned(
    weights: Weights, cells: Intervals, groups: int, signs: bool
) -> tuple[Tensor, Tensor]:
    """The line for each place, of the least error, and its sign; lines stay in their group."""
    from scipy.optimize import linear_sum_assignment

    chosen, turned, lines = [], [], len(cells.low)
    for group in range(groups):
        first, last = group * lines // groups, (group + 1) * lines // groups
        for start in range(first, last, BLOCK):
            block = slice(start, min(start + BLOCK, last))
            errors, better = costs(weights.lines(block), cells.lines(block), signs)
            pairs = linear_sum_assignment(errors.cpu().numpy())
            places, own = (torch.as_tensor(part, device="cpu") for part in pairs)
            chosen.append(own + start)
            turned.append(better[places, own])
    device = cells.low.device
    return torch.cat(chosen).to(device), torch.cat(turned).to(device)


def _copied(placement: Placement) -> Placement:
    copied = Placement(placement.columns.new_empty(len(placement.columns), len(placement.rows)))
    copied.load_state_dict(placement.state_dict())
    return copied
