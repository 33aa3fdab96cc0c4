"""Smooth the loss analytically: curvature times the variance of what happens to the weights."""

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
    """The loss that randomised rounding to few bits would have on average, to second order.

        1/2 sum_i g_i s^2 D_i (1 - D_i),   s = absmax / (2^(bits-1) - 1),   D = w/s - floor(w/s)

    ``s^2 D (1 - D)`` is the variance of rounding w up with probability D and else down; ``g_i`` is
    the curvature's diagonal, the mean squared gradient of the other terms. That and ``s`` are
    constants to the gradient, which is ``1/2 g_i s (1 - 2 D_i)``: a pull to the grid where it
    matters. ``weight`` says how much more curvature there is than the squared gradient of a batch
    shows.

    Source: M. Kwun et al., "LOTION: Smoothing the Optimization Landscape for Quantized Training",
    arXiv:2510.08757; the weight and the group are ours.
    """

    name: ClassVar[str] = "lotion"
    wants_curvature: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def __init__(
        self, bits: Annotated[Bits, Field(ge=2)] = 4, weight: Weight = 1.0, group: Group = "row"
    ) -> None:
        self.bits, self.weight, self.group = bits, weight, group

    def term(self, step: TrainStep) -> Tensor:
        """The sum over the weights of analog layers; 0 while no curvature is known."""
        return _half_trace(step, self._variance)

    def _variance(self, layer: AnalogLayer) -> Tensor:
        return rounding_variance(layer.to_matrix(layer.weight), self.bits, self.group)


class LotionDevice(Objective):
    """The same with what the device does to a weight: the variance of its programming.

        1/2 sum_i g_i sigma^2(w_i)

    ``sigma(w)`` is the spread of the weight right after programming, from the profile at the step's
    noise; its slope is the gradient that rules A and F find by sampling. ``g_i`` as above.

    Source: our extension of LOTION (see :class:`Lotion`).
    """

    name: ClassVar[str] = "lotion-device"
    wants_curvature: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def __init__(self, weight: Weight = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Refuse a device that programs exactly, or whose weights lie on several slices."""
        for layer in analog_layers(model).values():
            if not layer.profile.cell.programming_noise:
                raise CimsimError(
                    f"objective 'lotion-device': '{layer.profile.name}' has no programming noise; "
                    "relaxation and drift are not counted"
                )
            _programming_variance(layer)

    def term(self, step: TrainStep) -> Tensor:
        """The sum over the weights of analog layers; 0 while there is no noise."""
        if step.strength == 0:
            return step.logits.new_zeros(())
        return _half_trace(step, _programming_variance)


def rounding_variance(w: Tensor, bits: int, group: Group) -> Tensor:
    """Variance of randomised rounding to the grid, in the shape of ``w``; see :class:`Lotion`."""
    groups = Groups(w, group)
    step = groups.largest().detach().clamp_min(_SMALLEST) / (2 ** (bits - 1) - 1)
    at = groups.values / step
    off = at - at.detach().round()
    # The largest weight lies on the grid but for rounding, which must not push it (and with it the
    # whole grid) about.
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
