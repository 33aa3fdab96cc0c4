"""Batch sizes: batch normalization needs at least two values per channel."""

from __future__ import annotations

import math
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from cimsim.nn import digital, evaluating
from cimsim.torch_private import BatchNorm
from cimsim.training.replay import Repeat


@torch.no_grad()
def fewest_samples(model: nn.Module, x: Tensor) -> int:
    """Return the smallest batch size that ``model`` can be trained on.

    This is 2 if a batch normalization has a single value per channel for one sample ``x [1, ...]``,
    else 1.

    The model and its random state are unchanged.
    """
    norms = [norm for norm in model.modules() if isinstance(norm, BatchNorm)]
    if not norms:
        return 1
    lone = False

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal lone
        lone |= math.prod(given[0].shape[2:]) == 1

    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(look).remove)
        stack.enter_context(Repeat(model, x.device).again())
        stack.enter_context(evaluating(model))
        stack.enter_context(digital(model))
        model(x)
    return 2 if lone else 1


def split(x: Tensor, y: Tensor, parts: int, smallest: int) -> list[tuple[Tensor, Tensor]]:
    """Split a batch into ``parts`` parts of equal size; the last part may be smaller.

    There are fewer parts if a part would have fewer than ``smallest`` samples.

    >>> [len(a) for a, _ in split(torch.zeros(9), torch.zeros(9), 4, 1)]
    [3, 3, 3]
    >>> [len(a) for a, _ in split(torch.zeros(9), torch.zeros(9), 8, 2)]
    [2, 2, 2, 3]
    """
    size = max(-(-len(x) // parts), smallest)
    sizes = [size] * (len(x) // size)
    if left := len(x) % size:
        if sizes and left < smallest:
            sizes[-1] += left
        else:
            sizes.append(left)
    return list(zip(x.split(sizes), y.split(sizes), strict=True))
