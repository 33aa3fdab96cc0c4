"""Continuous sparsification: learned pruning of weights."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.quantizers.quantizer import Quantizer


class Sparsify(Quantizer):
    """A soft gate on every weight, which becomes hard during training.

        x~ = x sigmoid(b s) / sigmoid(s0),   b = final^progress, from 1 to ``final``
        in evaluation: sigmoid(b s) -> [s > 0]
        penalty: sum sigmoid(b s), the number of nonzero weights

    ``s`` is a parameter in the shape of the weight, initialized to ``s0``. Use it with the
    objective ``penalty``, whose weight controls the sparsity. There is one round, without the
    rewinding of the source.

    Source: P. Savarese, H. Silva, M. Maire, "Winning the Lottery with Continuous Sparsification",
    NeurIPS 2020, arXiv:1912.04427.
    """

    name: ClassVar[str] = "sparsify"
    for_inputs: ClassVar[bool] = False
    gate: nn.Parameter
    temperature: Tensor

    def __init__(self, s0: float = 0.0, final: Annotated[float, Field(ge=1)] = 200.0) -> None:
        super().__init__()
        self.s0, self.final = s0, final
        self.gate = nn.Parameter(torch.zeros((), device="cpu"))
        self.register_buffer("temperature", torch.ones((), device="cpu"))

    def setup(self, x: Tensor) -> None:
        """Create a gate for each element of ``x``."""
        self.gate = nn.Parameter(torch.full_like(x, self.s0))

    def advance(self, progress: float) -> None:
        """Increase the steepness of the gates."""
        self.temperature.fill_(self.final**progress)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        gate = self._soft() if self.training else (self.gate > 0).to(x.dtype)
        return x * gate / torch.sigmoid(x.new_tensor(self.s0))

    def _soft(self) -> Tensor:
        return torch.sigmoid(self.temperature * self.gate)

    def penalty(self) -> Tensor:
        """Return the (soft) number of nonzero weights."""
        return self._soft().sum()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        return f"s0={self.s0:g}, final={self.final:g}"
