"""Weights whose errors cost most are written again."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cimsim.adaptation.bench import Bench, output_tensor
from cimsim.adaptation.fault_mapping import has_faults, is_mapped
from cimsim.adaptation.measured import MEASURED_BATCHES, checked_count
from cimsim.adaptation.part import CELLS, Change, Part, on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, digital
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.rewrites import MOST_ATTEMPTS, Rewrites
from cimsim.profile import Profile
from cimsim.seeds import generator

logger = logging.getLogger("cimsim")


class Rewrite(Part):
    """The weights whose errors cost most are written again, until each is close to its target
    (SWIM).

        cost = h (w~ - w)^2,   h = sum over inputs and outputs of (dy/dw)^2

    ``w~`` is the weight on the cells and ``h`` the diagonal of the Gauss-Newton matrix of the
    squared error of the outputs, without the factor 2. With ``teacher="labels"``, ``h`` is the
    diagonal of the empirical Fisher matrix: the sum over inputs of ``(dl/dw)^2`` for the loss ``l``
    of one label. Both are estimated with random signs (``probes`` for each batch) in the digital
    model, so that no batch runs on the chip.

    Every weight is read once. The ``share`` of all weights that cost most is chosen. Each chosen
    weight whose error is above ``tolerance``, in units of the weight of full conductance, is
    written and read again, at most ``attempts`` times. A write samples new errors of all cells of
    the weight; all other cells, errors that are fixed per device, stuck cells and dead lines stay
    the same. Weights with a faulty cell are not chosen, if each weight is on one cell or pair.
    ``keep="last"`` leaves the last attempt on the cells if none is within the tolerance;
    ``keep="best"`` leaves the best one, which is an upper limit, because a write cannot be undone.

    Reads are exact, without drift and wires, like the average of many reads right after the write.
    The cells are written and read at age 0, and then the chip is aged.

    Source: Z. Yan, X. S. Hu and Y. Shi, "SWIM: selective write-verify for computing-in-memory
    neural accelerators" (DAC 2022, arXiv:2202.08395). They rank weights by the second
    derivative, before any read.
    """

    name, title = "rewrite", "selective write-verify"
    needs = frozenset({CELLS})
    learns = draws = True

    def __init__(
        self,
        share: float = 0.1,
        tolerance: float = 0.01,
        attempts: int = 10,
        keep: str = "last",
        batches: int = MEASURED_BATCHES,
        probes: int = 8,
    ) -> None:
        if not 0 < share <= 1:
            raise CimsimError(f"share must be above 0 and at most 1, not {share:g}")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise CimsimError(f"tolerance must be 0 or more, not {tolerance:g}")
        if not 1 <= attempts <= MOST_ATTEMPTS:
            raise CimsimError(f"attempts must be 1 to {MOST_ATTEMPTS}, not {attempts}")
        if keep not in ("last", "best"):
            raise CimsimError(f"keep must be 'last' or 'best', not '{keep}'")
        if probes < 1:
            raise CimsimError(f"probes must be 1 or more, not {probes}")
        self.share, self.tolerance, self.attempts, self.keep = share, tolerance, attempts, keep
        self.batches, self.probes = checked_count(batches), probes

    def obstacle(self, model: torch.nn.Module) -> str | None:
        """See :class:`Part`."""
        noisy = [layer for layer in on_chip(model).values() if has_write_noise(layer.profile)]
        if not noisy:
            return "its cells have no error that another write changes"
        if not any(layer.weight.is_leaf for layer in noisy):
            return "all of its weights are computed from other tensors"
        return None

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = {
            name: layer
            for name, layer in on_chip(bench.model).items()
            if has_write_noise(layer.profile) and layer.weight.is_leaf
        }
        curvatures = sensitivities(bench, layers, self.batches, self.probes)
        errors = {name: relative_error(layer) for name, layer in layers.items()}
        costs = {
            name: _in_order(layer, curvatures[name]) * (errors[name] * _full(layer)).square()
            for name, layer in layers.items()
        }
        chosen = dearest({name: _mended(layers[name], costs[name]) for name in layers}, self.share)
        written = read = 0
        for name, layer in layers.items():
            writes = self._write(layer, chosen[name], errors[name])
            cells = layer.cells_per_weight
            written += cells * writes
            read += cells * (errors[name].numel() + writes)
        return Change(written=written, read=read)

    @torch.no_grad()
    def _write(self, layer: AnalogLayer, chosen: Tensor, error: Tensor) -> int:
        """Write the ``chosen`` weights of one layer again, whose errors are ``error``, and return
        the number of weights written."""
        rewrites = Rewrites(error)
        if layer.attempts is not None:
            rewrites.attempts.copy_(layer.attempts)
        now, writes = rewrites.attempts.clone(), 0
        best, error = error, error.clone()
        for _ in range(self.attempts):
            pending = chosen & (error > self.tolerance) & (now < MOST_ATTEMPTS)
            if not pending.any():
                break
            now[pending] += 1
            writes += int(pending.sum())
            for number in now[pending].unique().tolist():
                these = pending & (now == number)
                error[these] = relative_error(layer, number)[these]
            kept = pending if self.keep == "last" else pending & (error < best)
            rewrites.attempts[kept] = now[kept]
            best = torch.where(kept, error, best)
        layer.rewrite(rewrites)
        logger.info(
            "%s: %d of %d chosen weights are within %g after %d writes",
            layer.name,
            int((chosen & (best <= self.tolerance)).sum()),
            int(chosen.sum()),
            self.tolerance,
            writes,
        )
        return writes


def has_write_noise(profile: Profile) -> bool:
    """Whether another write changes the errors of cells."""
    effects = (*profile.cell.programming_noise, *profile.cell.variation)
    return any(effect.strength and effect.device_share < 1.0 for effect in effects)


def relative_error(layer: AnalogLayer, attempt: int | None = None) -> Tensor:
    """The absolute error of each weight on the cells right after its last write, or after attempt
    ``attempt``, in units of the weight of full conductance and in the order of the cells."""
    error = layer.verified_weight(attempt) - layer.written_weight()
    return error.abs() / _full(layer)


def sensitivities(
    bench: Bench, layers: Mapping[str, AnalogLayer], batches: int, probes: int
) -> dict[str, Tensor]:
    """The diagonal ``h`` of :class:`Rewrite` for the weights of ``layers``, in their shapes.

    With ``v`` of random signs, the expectation of ``(sum v dy/dw)^2`` is the sum of ``(dy/dw)^2``.

    Source: M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix", Commun.
    Stat. Simul. Comput. 18, 1059 (1989).
    """
    weights = {name: layer.weight for name, layer in layers.items()}
    total = {  # squares overflow float16, or are 0
        name: torch.zeros_like(weight.detach(), dtype=compute_dtype(weight))
        for name, weight in weights.items()
    }
    frozen = [weight for weight in weights.values() if not weight.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        with torch.enable_grad(), digital(bench.model):
            for number in range(min(batches, len(bench.batches))):
                outputs = bench.run(number)
                y = output_tensor(outputs)
                bench.require_finite(y, number)
                slope = _slope(bench, outputs, y, number)
                draws = generator(bench.recipe.seed, "adapt", "rewrite", number, device=y.device)
                for _ in range(probes):
                    v = slope * _signs(y, draws, by_input=bench.recipe.teacher == "labels")
                    found = torch.autograd.grad(
                        y, [*weights.values()], v, retain_graph=True, allow_unused=True
                    )
                    for name, gradient in zip(total, found, strict=True):
                        if gradient is not None:
                            total[name] += gradient.to(total[name].dtype).square()
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
    return {name: each / probes for name, each in total.items()}


def _slope(bench: Bench, outputs: object, y: Tensor, number: int) -> Tensor:
    """What each output counts: 1, or the slope of the loss with labels."""
    if bench.recipe.teacher == "digital":
        return torch.ones_like(y)
    loss = bench.loss_of(outputs, number)
    (slope,) = torch.autograd.grad(loss, y, retain_graph=True)
    return slope


def _signs(y: Tensor, draws: torch.Generator, by_input: bool) -> Tensor:
    """1 or -1 for every output, or for every input (of a text: every token)."""
    shape = (*y.shape[:-1], 1) if by_input and y.dim() > 1 else y.shape
    bits = torch.randint(0, 2, shape, generator=draws, device=y.device)
    return (2 * bits - 1).to(y.dtype)


def dearest(costs: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Mark the ``share`` of all weights that cost most; none that cost nothing.

    >>> costs = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([1.0, 5.0])}
    >>> {name: marked.tolist() for name, marked in dearest(costs, 0.5).items()}
    {'a': [True, False], 'b': [False, True]}
    """
    flat = torch.cat([cost.detach().flatten().double().cpu() for cost in costs.values()])
    marked = torch.zeros_like(flat, dtype=torch.bool)
    marked[flat.topk(max(1, round(share * len(flat)))).indices] = True
    marked &= flat > 0
    parts = marked.split([cost.numel() for cost in costs.values()])
    return {
        name: part.view(cost.shape).to(cost.device)
        for part, (name, cost) in zip(parts, costs.items(), strict=True)
    }


def _in_order(layer: AnalogLayer, values: Tensor) -> Tensor:
    """``values`` for squared errors of the layer's weights, for those of the weights on the cells,
    in their order."""
    matrix = layer.to_matrix(values)
    if layer.input_gains is not None:  # twice, as the error is squared
        matrix = layer.input_gains.read_back(layer.input_gains.read_back(matrix))
    matrix = layer.with_spares(matrix)
    return matrix if layer.placement is None else layer.placement.placed(matrix).abs()


def _full(layer: AnalogLayer) -> Tensor:
    return layer.full_weight(layer.written_weight())


def _mended(layer: AnalogLayer, costs: Tensor) -> Tensor:
    """``costs`` that another write can change: without those of weights with a faulty cell."""
    if not (has_faults(layer.profile) and is_mapped(layer)):
        return costs
    held, _ = layer.known_faults()
    return costs.masked_fill((~held.isnan()).any(0), 0.0)
