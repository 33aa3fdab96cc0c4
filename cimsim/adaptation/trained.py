"""Parts that train digital numbers by gradients, with every cell frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.part import Change, Part, on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.nn.weight_adapters import LowRankAdapter, SparseAdapter, sizes_of
from cimsim.seeds import generator


def train(
    bench: Bench, parameters: Sequence[Tensor], lr: float, steps: int, first: int = 0
) -> None:
    """Train ``parameters`` for ``steps`` batches, the ``first`` of which is a number.

    Adam with a learning rate that falls from ``lr`` to zero along a cosine. The model stays in
    evaluation mode, on its chip.

    Raises:
        CimsimError: if the loss is not finite.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=lr)
    try:
        with torch.enable_grad():
            for step in range(steps):
                share = 0.5 * (1 + math.cos(math.pi * step / steps))
                for group in optimizer.param_groups:
                    group["lr"] = lr * share
                loss = bench.loss((first + step) % len(bench.batches))
                if not loss.isfinite():
                    raise CimsimError(
                        f"the loss is {loss.item()} at step {step + 1}; train with a smaller "
                        f"learning rate than lr={lr:g}"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


class Affine(Part):
    """Biases, and gains and offsets of normalization, trained on this chip.

    Everything that is trained is one number for each channel, which is digital anyway.

    Source: A. Bhattacharjee et al., "Examining the role and limits of batchnorm optimization to
    mitigate diverse hardware-noise in in-memory computing" (GLSVLSI 2023, arXiv:2305.18416).
    """

    name, title = "affine", "affine parameters"

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = checked_rate(lr)

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        return None if affine_parameters(model) else "it has no bias and no normalization"

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        parameters = affine_parameters(bench.model)
        train(bench, parameters, self.lr, bench.recipe.budget)
        return Change(changed=sum(parameter.numel() for parameter in parameters))


class LowRank(Part):
    """Digital low-rank adapters beside each array, trained with the chip frozen.

        y = array(x) + x A^T B^T,   A [rank, inputs], B [outputs, rank]

    Source: C. Li et al., "Efficient transformer adaptation for analog in-memory computing via
    low-rank adapters" (AHWA-LoRA; arXiv:2411.17367).
    """

    name, title = "low-rank", "low-rank adapters"

    def __init__(self, rank: int = 4, lr: float = 0.01) -> None:
        self.rank, self.lr = rank, checked_rate(lr)
        if rank < 1:
            raise CimsimError(f"rank is 1 or more, not {rank}")

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        sizes = {
            name: min(self.rank, len(matrix), math.prod(matrix.shape[1:]))
            for name, matrix in _matrices(bench).items()
        }
        return _train_adapters(bench, LowRankAdapter.kind, sizes, self.lr)


class Sparse(Part):
    """Digital changes of a random share of the weights, trained with the chip frozen.

    Source: random sparse adaptation, G. Charan et al., "Accurate inference with inaccurate RRAM
    devices: statistical data, model transfer, and on-line adaptation" (DAC 2020).
    """

    name, title = "sparse", "sparse adapters"

    def __init__(self, share: float = 0.05, lr: float = 0.003) -> None:
        self.share, self.lr = share, checked_rate(lr)
        if not 0 < share <= 1:
            raise CimsimError(f"share is above 0 and at most 1, not {share:g}")

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        sizes = {
            name: max(1, round(self.share * matrix.numel()))
            for name, matrix in _matrices(bench).items()
        }
        return _train_adapters(bench, SparseAdapter.kind, sizes, self.lr)


def affine_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Digital parameters with one number for each channel: biases and those of normalization."""
    layers = [module for module in model.modules() if isinstance(module, AnalogLayer)]
    inside = {part for layer in layers for part in layer.modules()}  # quantizers, adapters
    others = [module for module in model.modules() if module not in inside]
    candidates = [p for module in others for p in module.parameters(recurse=False)]
    candidates += [layer.bias for layer in layers if isinstance(layer.bias, nn.Parameter)]
    return [parameter for parameter in candidates if parameter.dim() == 1]


def _matrices(bench: Bench) -> dict[str, Tensor]:
    return {name: layer.to_matrix(layer.weight) for name, layer in on_chip(bench.model).items()}


def _train_adapters(bench: Bench, kind: str, sizes: dict[str, int], lr: float) -> Change:
    layers, before = on_chip(bench.model), 0
    for name, size in sizes.items():
        own = sizes_of(layers[name].adapters)
        before += own.get(kind) == size
        if own.get(kind) != size:
            _add(layers[name], kind, size, generator(bench.recipe.seed, "adapt", kind, name))
    adapters = [layers[name].adapters[kind] for name in sizes]  # type: ignore[index]
    parameters = [p for adapter in adapters for p in adapter.parameters()]
    train(bench, parameters, lr, bench.recipe.budget)
    count = sum(parameter.numel() for parameter in parameters)
    return Change(changed=count) if before == len(sizes) else Change(added=count)


def _add(layer: AnalogLayer, kind: str, size: int, draws: torch.Generator) -> None:
    """Add an adapter of one kind to ``layer``, and keep those of other kinds."""
    others = {} if layer.adapters is None else dict(layer.adapters.items())
    layer.adapt_weight({kind: size})
    assert layer.adapters is not None
    layer.adapters[kind].start(draws)  # type: ignore[operator]
    layer.adapters.update({name: each for name, each in others.items() if name != kind})


def checked_rate(lr: float) -> float:
    """Return ``lr``.

    Raises:
        CimsimError: if it is no learning rate.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise CimsimError(f"lr is above 0, not {lr:g}")
    return lr
