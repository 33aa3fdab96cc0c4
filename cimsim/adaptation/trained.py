"""Parts that train digital numbers by gradients, with every cell frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.part import Change, Part, on_chip
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.weight_adapters import LowRankAdapter, SparseAdapter, sizes_of
from cimsim.seeds import generator

_FIRST_SCALE, _LAST_SCALE = 2.0**16, 2.0**-16  # of losses for gradients in float16
_REDUCTION = 2.0**4


def train(
    bench: Bench, parameters: Sequence[Tensor], lr: float, steps: int, first: int = 0
) -> None:
    """Train ``parameters`` for ``steps`` batches, the ``first`` of which is a number.

    Adam with a learning rate that falls from ``lr`` to zero along a cosine. The model stays in
    evaluation mode, on its chip.

    Raises:
        CimsimError: if the loss or the gradients are not finite.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = _Adam(parameters)
    try:
        with torch.enable_grad():
            for step in range(steps):
                share = 0.5 * (1 + math.cos(math.pi * step / steps))
                number = (first + step) % len(bench.batches)
                loss = bench.loss(number)
                if not loss.isfinite():
                    bench.taught(number)  # raises if the data are not finite
                    raise CimsimError(
                        f"the loss is {loss.item()} at step {step + 1}; {_advice(first + step, lr)}"
                    )
                optimizer.step(loss, lr * share)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _advice(step: int, lr: float) -> str:
    if step:
        return f"train with a smaller learning rate than lr={lr:g}"
    return (
        "nothing was trained before it, so check the inputs and labels, and convert a model in "
        "float16 with model.bfloat16() or model.float()"
    )


class _Adam:
    """Adam, in float32 for parameters in bf16 or float16.

    In bf16 most updates are less than half of the distance to the next number, and in float16 the
    epsilon of Adam and many squares are 0. So copies in float32 are trained, and rounded to the
    parameters after every step. Small gradients are 0 in float16, too, so there the loss is
    multiplied by a scale before backward. A step whose gradients overflow is left out, and the
    scale is smaller from then on.

    Source: P. Micikevicius et al., "Mixed precision training" (ICLR 2018, arXiv:1710.03740).
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        # In float32 and float64, these share the memory of the parameters, without gradients.
        self._precise = [as_dtype(each.detach(), compute_dtype(each)) for each in parameters]
        self._optimizer = torch.optim.Adam(self._precise)
        self._scales = any(parameter.dtype is torch.float16 for parameter in parameters)
        self._scale = _FIRST_SCALE if self._scales else 1.0

    def step(self, loss: Tensor, lr: float) -> None:
        """Take a step with the gradients of ``loss``.

        Raises:
            CimsimError: if gradients overflow float16 with every scale.
        """
        for parameter in self._parameters:
            parameter.grad = None
        (loss.float() * self._scale if self._scales else loss).backward()
        gradients = [parameter.grad for parameter in self._parameters]
        if self._scales and not all(g is None or g.isfinite().all() for g in gradients):
            self._reduce_scale()
            return
        for precise, gradient in zip(self._precise, gradients, strict=True):
            precise.grad = None if gradient is None else gradient.to(precise.dtype) / self._scale
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        with torch.no_grad():
            for parameter, precise in zip(self._parameters, self._precise, strict=True):
                if parameter.dtype != precise.dtype:
                    parameter.copy_(precise)

    def _reduce_scale(self) -> None:
        if self._scale <= _LAST_SCALE:
            raise CimsimError(
                "the gradients are not finite in float16; convert the model with model.bfloat16() "
                "or model.float(), and adapt it then"
            )
        self._scale /= _REDUCTION


class Affine(Part):
    """Biases, and gains and offsets of normalization, trained on this chip.

    Each trained parameter is one number for each channel, which is digital anyway.

    Source: A. Bhattacharjee et al., "Examining the role and limits of batchnorm optimization to
    mitigate diverse hardware-noise in in-memory computing" (GLSVLSI 2023, arXiv:2305.18416).
    """

    name, title = "affine", "affine parameters"
    learns = True

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
    learns = draws = True

    def __init__(self, rank: int = 4, lr: float = 0.01) -> None:
        self.rank, self.lr = rank, checked_rate(lr)
        if rank < 1:
            raise CimsimError(f"rank must be 1 or more, not {rank}")

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
    learns = draws = True

    def __init__(self, share: float = 0.05, lr: float = 0.003) -> None:
        self.share, self.lr = share, checked_rate(lr)
        if not 0 < share <= 1:
            raise CimsimError(f"share must be above 0 and at most 1, not {share:g}")

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        sizes = {
            name: max(1, round(self.share * matrix.numel()))
            for name, matrix in _matrices(bench).items()
        }
        return _train_adapters(bench, SparseAdapter.kind, sizes, self.lr)


def affine_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Digital parameters with one number for each channel: biases and those of normalization; each
    once, even if layers share it."""
    layers = [module for module in model.modules() if isinstance(module, AnalogLayer)]
    inside = {part for layer in layers for part in layer.modules()}  # quantizers, adapters
    others = [module for module in model.modules() if module not in inside]
    candidates = [p for module in others for p in module.parameters(recurse=False)]
    candidates += [layer.bias for layer in layers if isinstance(layer.bias, nn.Parameter)]
    return list(dict.fromkeys(each for each in candidates if each.dim() == 1))


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
        CimsimError: if it is not a valid learning rate.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise CimsimError(f"lr must be above 0, not {lr:g}")
    return lr
