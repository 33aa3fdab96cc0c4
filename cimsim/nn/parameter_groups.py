"""Parameters in groups for an optimizer: learned ranges of converters have a group of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from cimsim.nn.forms import require_module
from cimsim.nn.layer import AnalogLayer

RANGE_RATE = 10.0
"""Learning rate of ranges over that of weights: a range is as large as the signal, which grows
faster in training than a range at the rate of the weights."""


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float = 0.0, without: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Return the parameters of ``model`` in groups for a torch optimizer.

    Learned ranges of converters (:func:`cimsim.convert` with ``learn_ranges``) have ten times the
    learning rate and no weight decay.

    Args:
        model: any module.
        lr: learning rate of all other parameters.
        weight_decay: their weight decay.
        without: ``id`` of parameters to leave out.

    Returns:
        One group, and another one if there are learned ranges. ``lr_factor`` is the learning rate
        over ``lr``, for schedules that set the rate themselves.

    Raises:
        CimsimError: if ``model`` is not a module.

    >>> import torch, cimsim
    >>> model = cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020", learn_ranges="dac")
    >>> optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-3, weight_decay=0.01))
    >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    [(0.001, 0.01), (0.01, 0.0)]
    """
    require_module(model)
    layers = [module for module in model.modules() if isinstance(module, AnalogLayer)]
    ranges = {id(known) for layer in layers for known in layer.learned_ranges}
    every = [p for p in model.parameters() if id(p) not in without]
    others = [p for p in every if id(p) not in ranges]
    learned = [p for p in every if id(p) in ranges]
    groups = ((others, 1.0, weight_decay), (learned, RANGE_RATE, 0.0))
    return [
        {"params": params, "lr": lr * factor, "lr_factor": factor, "weight_decay": decay}
        for params, factor, decay in groups
        if params
    ]
