"""Weight clipping, and re-estimation of batch-norm statistics under noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cimsim.nn import AnalogLayer, ColumnDenoiser, analog_layers, evaluating
from cimsim.nn.batches import Batches, Forward, run_batches
from cimsim.nn.computed import computed
from cimsim.nn.statistics import averaging
from cimsim.torch_private import BatchNorm
from cimsim.training.sharding import parted, whole

STATISTICS: tuple[type[nn.Module], ...] = (BatchNorm, ColumnDenoiser)
"""Modules with running statistics that depend on the chip."""


@torch.no_grad()
def clip_weights(model: nn.Module, sigmas: float) -> None:
    """Clamp the weights of every analog layer to ``+- sigmas`` times their RMS, per channel.

    Noise is relative to a column's largest weight; without clipping, a few large weights would
    increase the relative noise of all others. The deviation is about zero, not about the mean: a
    channel whose weights share a mean would otherwise shrink to zero over the steps. Weights
    computed by a parametrization or a hook, and weights that need no gradient, are not clipped.
    """
    for layer in analog_layers(model).values():
        if computed(layer) is not None or not layer.weight.requires_grad:
            continue
        rows_are_columns = type(layer).to_matrix is AnalogLayer.to_matrix  # shards hold rows
        weight = layer.to_matrix(layer.weight if rows_are_columns else whole(layer.weight))
        rms = weight.flatten(1).square().mean(dim=1).sqrt()
        bound = sigmas * rms.view(-1, *[1] * (weight.dim() - 1))
        clipped = layer.from_matrix(torch.clamp(weight, -bound, bound))
        layer.weight.copy_(parted(clipped, layer.weight))


@torch.no_grad()
def reestimate_statistics(
    model: nn.Module,
    batches: Batches,
    kinds: tuple[type[nn.Module], ...] = STATISTICS,
    forward: Forward | None = None,
) -> None:
    """Replace running statistics by their average over ``batches`` under noise.

    This applies to batch normalization and to the columns' denoisers. Only these modules and the
    analog layers are in training mode meanwhile, so every batch uses a new chip and dropout is
    disabled. A model without such statistics is unchanged, and needs no batch. Batches and
    ``forward`` as in :func:`cimsim.calibrate`.
    Source: AdaBS, V. Joshi et al., Nature Communications 11, 2473 (2020), here before deployment.

    Raises:
        CimsimError: if there is no batch.
    """
    averaged: dict[str, Any] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, kinds) and getattr(module, "track_running_stats", True)
    }
    if not averaged:
        return
    with evaluating(model), averaging(averaged, "reestimation"):
        for module in model.modules():
            if isinstance(module, AnalogLayer):
                module.training = True  # without its quantizers
        run_batches(model, batches, "reestimation", forward)
