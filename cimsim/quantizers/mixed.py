"""Learned choice of the bit width of a layer, by sampling."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.quantizers.quantizer import Bits, Group, RandomQuantizer
from cimsim.quantizers.uniform import Uniform


class Mixed(RandomQuantizer):
    """One of several bit widths, by the Rao-Blackwellized straight-through Gumbel-softmax.

        D = one-hot argmax(theta + G),  G Gumbel;   x~ = sum_k D_k Q_k(x)
        dD/dtheta ~ mean over ``samples`` draws of G given D of d softmax((theta + G) / t) / d theta
        penalty: expected bits times the number of weights

    ``theta`` is a parameter with one entry for each width; evaluation uses the largest entry. The
    draws given D (``Z = sum exp(theta)``, E exponential) are ``-ln E_i + ln Z`` for the chosen i
    and ``-ln(E_j / exp(theta_j) + E_i / Z)`` for the others; they are constant in the gradient.

    Source: M. B. Paulus, C. J. Maddison, A. Krause, "Rao-Blackwellizing the Straight-Through
    Gumbel-Softmax Gradient Estimator", ICLR 2021, arXiv:2010.04838.
    """

    name: ClassVar[str] = "mixed"

    def __init__(
        self,
        bits: tuple[Bits, ...] = (2, 4, 8),
        temperature: Annotated[float, Field(gt=0)] = 1.0,
        samples: Annotated[int, Field(ge=1)] = 10,
        group: Group = "row",
    ) -> None:
        super().__init__()
        self.bits, self.temperature, self.samples = bits, temperature, samples
        self._count = 1
        self.widths = nn.ModuleList(Uniform(width, group=group) for width in bits)
        self.theta = nn.Parameter(torch.zeros(len(bits), device="cpu"))

    def setup(self, x: Tensor) -> None:
        """Store the number of weights."""
        self._count = x.numel()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        result: Tensor
        if not self.training:
            result = self.widths[int(self.theta.argmax())](x)
            return result
        rng = self._generator(self.theta.device)
        choice = sampled_one_hot(self.theta.to(x.dtype), self.temperature, self.samples, rng)
        candidates = torch.stack([width(x) for width in self.widths])
        result = torch.tensordot(choice, candidates, dims=1)
        return result

    def step_size(self, x: Tensor) -> float:
        """Return the step size of the most probable width."""
        width = self.widths[int(self.theta.argmax())]
        assert isinstance(width, Uniform)
        return width.step_size(x)

    def penalty(self) -> Tensor:
        """Return the expected bits times the number of weights."""
        bits = torch.tensor(self.bits, dtype=self.theta.dtype, device=self.theta.device)
        return self._count * (torch.softmax(self.theta, 0) * bits).sum()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        return f"bits={'/'.join(map(str, self.bits))}, temperature={self.temperature:g}"


def sampled_one_hot(
    theta: Tensor, temperature: float, samples: int, rng: torch.Generator
) -> Tensor:
    """Sample a one-hot vector from ``softmax(theta) [K]``, with the gradient of :class:`Mixed`."""
    fixed = theta.detach()
    gumbel = -torch.log(_exponential(fixed, rng))
    index = (fixed + gumbel).argmax()
    one_hot = nn.functional.one_hot(index, len(theta)).to(theta.dtype)
    total = fixed.exp().sum()
    e = _exponential(fixed.expand(samples, -1), rng)
    others = -torch.log(e / fixed.exp() + e[:, index, None] / total)
    chosen = -torch.log(e[:, index, None]) + total.log()
    perturbed = torch.where(one_hot.bool(), chosen, others)
    soft = torch.softmax((perturbed + theta - fixed) / temperature, dim=1).mean(0)
    return one_hot + soft - soft.detach()


def _exponential(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.empty_like(like).contiguous().exponential_(generator=rng)
