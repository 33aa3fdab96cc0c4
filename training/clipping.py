"""Weight clipping, and re-estimation of batch-norm statistics under noise."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.nn import AnalogLayer, ColumnDenoiser, analog_layers, evaluating
from cimsim.nn.batches import Batches, Forward, run_batches
from cimsim.nn.computed import computed
from cimsim.nn.statistics import averaging
from cimsim.torch_private import BatchNorm
from cimsim.training.sharding import parted, whole

logger = logging.getLogger("cimsim")

STATISTICS: tuple[type[nn.Module], ...] = (BatchNorm, ColumnDenoiser)
"""Modules with running statistics that depend on the chip."""


@torch.no_grad()
def clip_weights(model: nn.Module, sigmas: float) -> None:
    """Clamp the weights of every analog layer to ``+- sigmas`` times their RMS, per channel.

    Noise is relative to a column's largest weight; without clipping, a few large weights would
    increase the relative noise of all others. The deviation is about zero, not about the mean: a
    channel whose weights share a mean would otherwise shrink to zero over the steps. In layers that
    ``torch.nn.utils.prune`` has pruned, these are the weights that pruning keeps. Weights that need
    no gradient are not clipped, nor are those of :func:`warn_of_unclipped`.
    """
    for layer in analog_layers(model).values():
        pruned = _pruned(layer)
        if pruned is None and computed(layer) is not None:
            continue
        held, mask = (layer.weight, None) if pruned is None else pruned
        if not held.requires_grad:
            continue
        rows_are_columns = type(layer).to_matrix is AnalogLayer.to_matrix  # shards hold rows
        weight = layer.to_matrix(held if rows_are_columns and mask is None else whole(held))
        kept = None if mask is None else layer.to_matrix(mask).bool()
        bound = sigmas * _rms(weight, kept).view(-1, *[1] * (weight.dim() - 1))
        clipped = torch.clamp(weight, -bound, bound)
        if kept is not None:
            clipped = torch.where(kept, clipped, weight)
        held.copy_(parted(layer.from_matrix(clipped), held))


def warn_of_unclipped(model: nn.Module) -> None:
    """Log a warning of the layers that :func:`clip_weights` leaves out because a parametrization or
    a hook other than pruning computes their weights."""
    by = {
        name: computed(layer)
        for name, layer in analog_layers(model).items()
        if computed(layer) is not None and _pruned(layer) is None
    }
    if by:
        logger.warning(
            "clip_sigma does not clip the weights of %s, which %s computes; remove that, or set "
            "clip_sigma to None (--clip-sigma 0) to clip no layer",
            ("layer " if len(by) == 1 else "layers ") + ", ".join(f"'{name}'" for name in by),
            ", ".join(dict.fromkeys(map(str, by.values()))),
        )


def _pruned(layer: AnalogLayer) -> tuple[nn.Parameter, Tensor] | None:
    """Return the weight and the mask of ``torch.nn.utils.prune``, if it prunes ``layer``."""
    original, mask = layer._parameters.get("weight_orig"), layer._buffers.get("weight_mask")
    return None if original is None or mask is None else (original, mask)


def _rms(weight: Tensor, kept: Tensor | None) -> Tensor:
    """Return the RMS of each channel, over the weights that are kept, if not all are."""
    squares = weight.flatten(1).square()
    if kept is None:
        return squares.mean(dim=1).sqrt()
    kept = kept.flatten(1)
    return (torch.where(kept, squares, 0.0).sum(dim=1) / kept.sum(dim=1).clamp_min(1)).sqrt()


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
