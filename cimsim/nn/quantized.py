"""Quantizers of a layer's weight and input, and its perturbation, in front of the array."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.estimators.function import without_autocast
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.layer_kind import LayerKind
from cimsim.quantizers import Quantizer, make_quantizer


class Quantized(LayerKind):
    """A layer whose weight and input may pass quantizers, in the analog and in the digital layer.

    Attributes:
        weight_quantizer, input_quantizer: applied to weight and input; None for nothing.
        quantizer_specs: the texts that both were made from.
        perturbation: a change of the weight behind its quantizer, None for nothing; see
            :func:`cimsim.nn.perturbed`.
    """

    name: str
    seed: int
    weight_quantizer: Quantizer | None
    input_quantizer: Quantizer | None
    quantizer_specs: tuple[str | None, str | None]
    perturbation: Callable[[Tensor], Tensor] | None

    def quantize(self, weight: str | None, input: str | None) -> None:
        """Set the quantizers of weight and input, each made from its text; None is nothing.

        Raises:
            CimsimError: if there is no such quantizer, or it does not fit this layer.
        """
        self.weight_quantizer = self._quantizer(weight, "weight")
        if weight is not None and self.weight.is_meta:
            shape = self.to_matrix(self.weight).shape
            make_quantizer(weight)(torch.zeros(shape, device="cpu"))  # raises
        elif self.weight_quantizer is not None:
            self.weight_quantizer.setup(self.to_matrix(self.weight.detach()))
            self.effective_weight()
        self.input_quantizer = self._quantizer(input, "input")
        if self.input_quantizer is not None and not self.input_quantizer.for_inputs:
            raise CimsimError(f"quantizer '{input}' is for weights, not for inputs")
        self.quantizer_specs = (weight, input)

    def effective_weight(self) -> Tensor:
        """The weight that is put on the array, as :meth:`to_matrix` returns it: quantized and
        perturbed."""
        weight = self._quantized(self.to_matrix(self.weight), self.weight_quantizer)
        return weight if self.perturbation is None else self.perturbation(weight)

    def _quantizer(self, spec: str | None, role: str) -> Quantizer | None:
        if spec is None:
            return None
        quantizer = make_quantizer(spec).to(self.weight)
        quantizer.name_draws(self.seed, self.name, role)
        return quantizer.train(self.training)

    def _quantized(self, x: Tensor, quantizer: Quantizer | None) -> Tensor:
        """``x`` through a quantizer, which computes in float32 at least."""
        if quantizer is None or not x.numel():
            return x
        try:
            with without_autocast(x.device.type):
                values: Tensor = quantizer(x.to(compute_dtype(x)))
                return values.to(x.dtype)
        except CimsimError as error:
            raise CimsimError(f"layer '{self.name}': {error}") from None

    def _quantized_input(self, x: Tensor) -> Tensor:
        if self.input_quantizer is None:
            return x
        return self._quantized(self._samples(x), self.input_quantizer).view(x.shape)
