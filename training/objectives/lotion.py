"""Analytic smoothing of the loss: curvature times the variance of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, analog_layers
from cimsim.quantizers.quantizer import Bits, Group, Groups
from cimsim.training.objectives.objective import Objective, TrainStep, Weight

_SMALLEST = 1e-12
_ON_THE_GRID = 1e-4  # in steps


class Lotion(Objective):
    """Second-order term of the mean loss under randomized rounding to few bits.

        1/2 sum_i g_i s^2 D_i (1 - D_i),   s = absmax / (2^(bits-1) - 1),   D = w/s - floor(w/s)

    ``s^2 D (1 - D)`` is the variance of rounding w up with probability D and down otherwise;
    ``g_i`` is the diagonal of the empirical Fisher matrix, the mean over labels of the squared
    gradient of the other terms (see :class:`cimsim.training.curvature.Curvature`). ``g_i`` and
    ``s`` are constant in the gradient, which is ``1/2 g_i s (1 - 2 D_i)`` and pulls weights with
    large curvature to the grid. ``weight`` is the paper's lambda: 1 is the second-order expansion
    of the loss, at any batch size.

    Source: M. Kwun et al., "LOTION: Smoothing the Optimization Landscape for Quantized Training",
    arXiv:2510.08757; the estimate of ``g_i`` from batches and the group are ours.
    """

    name: ClassVar[str] = "lotion"
    wants_curvature: ClassVar[bool] = True
    reads_weights = True

    def __init__(
        self, bits: Annotated[Bits, Field(ge=2)] = 4, weight: Weight = 1.0, group: Group = "row"
    ) -> None:
        self.bits, self.weight, self.group = bits, weight, group

    def term(self, step: TrainStep) -> Tensor:
        """Return the sum over the weights of analog layers; 0 while no curvature is available."""
        return _half_trace(step, self._variance)

    def _variance(self, layer: AnalogLayer) -> Tensor:
        return rounding_variance(layer.to_matrix(layer.weight), self.bits, self.group)


class LotionDevice(Objective):
    """Like :class:`Lotion`, with the variance of programming instead of rounding.

        1/2 sum_i g_i sigma^2(w_i)

    ``sigma(w)`` is the spread of the weight right after programming, computed from the profile at
    the step's noise; its derivative is the gradient that the rules A and F estimate by sampling.
    ``g_i`` is as in :class:`Lotion`.

    Source: our extension of LOTION (see :class:`Lotion`).
    """

    name: ClassVar[str] = "lotion-device"
    wants_curvature: ClassVar[bool] = True
    reads_weights = True

    def __init__(self, weight: Weight = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Reject profiles without programming noise or with several slices per weight."""
        for layer in analog_layers(model).values():
            if not layer.profile.cell.programming_noise:
                raise CimsimError(
                    f"objective 'lotion-device' needs programming noise, but "
                    f"'{layer.profile.name}' has no programming noise; relaxation and drift do not "
                    "count"
                )
            _programming_variance(layer)

    def term(self, step: TrainStep) -> Tensor:
        """Return the sum over the weights of analog layers; 0 while there is no noise."""
        if step.strength == 0:
            return step.logits.new_zeros(())
        return _half_trace(step, _programming_variance)


def rounding_variance(w: Tensor, bits: int, group: Group) -> Tensor:
    """Return the variance of randomized rounding, in the shape of ``w``; see :class:`Lotion`."""
    groups = Groups(w, group)
    step = groups.largest().detach().clamp_min(_SMALLEST) / (2 ** (bits - 1) - 1)
    at = groups.values / step
    off = at - at.detach().round()
    # The largest weight is on the grid except for rounding errors, whose gradient must not move it
    # (and with it the whole grid).
    off = torch.where(off.abs() < _ON_THE_GRID, 0.0, off).abs()
    return groups.whole(step.square() * off * (1 - off))


def _half_trace(step: TrainStep, variance: Callable[[AnalogLayer], Tensor]) -> Tensor:
    total = step.logits.new_zeros(())
    for layer in analog_layers(step.model).values():
        assert isinstance(layer.weight, nn.Parameter)
        curvature = step.curvature(layer.weight)
        if curvature is not None:
            total = total + (layer.to_matrix(curvature) * variance(layer)).sum() / 2
    return total


def _programming_variance(layer: AnalogLayer) -> Tensor:
    return layer.array.programming_variance(layer.to_matrix(layer.weight))
