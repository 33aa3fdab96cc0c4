"""Denoising dequantization by ridge regression of the data on their codes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.errors import CimsimError
from cimsim.quantizers.quantizer import SMALLEST, Bits, Group, Groups, Quantizer, Ridge
from cimsim.quantizers.sparsity import Sparsity, sparse


class Denoising(Quantizer):
    """Quantization followed by regression of the data on the codes.

        f(x) = (x - b_f) / s_f  (affine)  or  x / s_f  (linear)
        q = f(x) + delta,  delta = round(f(x)) - f(x), constant in the gradient
        affine: x~ = c (q - mean q) + mean x,   c = Cov(x, q) / (Var(q) + ridge)
        linear: x~ = s q,                       s = mean(x q) / (mean(q^2) + ridge)

    Mean, covariance and variance are computed over each group of the data at every use, with
    gradients, including those through the target of the regression. With ``bits``, codes are
    0 .. 2^bits - 1 over the group's range (affine; one bit splits at the mean) or symmetric around
    zero (linear); ``levels=ternary`` has the codes -1, 0, 1 in steps of the mean magnitude. With
    ``sparsity``, the codes of all except the largest magnitudes are zero, but these values still
    get gradients. ``s_f`` and ``b_f`` are constant in the gradient. The ranges are our choice,
    because the paper does not specify them.

    Source: C. Ye et al., "Robust Training of Neural Networks at Arbitrary Precision and Sparsity",
    arXiv:2409.09245.
    """

    name: ClassVar[str] = "denoising"

    def __init__(
        self,
        bits: Bits = 1,
        levels: Literal["bits", "ternary"] = "bits",
        form: Literal["auto", "affine", "linear"] = "auto",
        ridge: Ridge = 0.01,
        group: Group = "row",
        sparsity: Sparsity = "none",
    ) -> None:
        super().__init__()
        self.bits, self.levels, self.ridge, self.group = bits, levels, ridge, group
        self.sparsity = sparsity
        linear = levels == "ternary" or sparsity != "none"
        self.affine = form == "affine" or (form == "auto" and not linear)
        if self.affine and sparsity != "none":
            raise CimsimError("sparsity requires form=linear; remove form=affine")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x~``, in the shape of ``x``."""
        groups = Groups(x, self.group)
        pruned = Groups(sparse(x.detach(), self.sparsity), self.group)
        scale, q = self._codes(pruned)
        regressed: Tensor = _Regression.apply(  # type: ignore[no-untyped-call]
            groups.values, groups.counted(q), scale, groups, self.ridge, self.affine
        )
        return groups.whole(regressed)

    def codes(self, x: Tensor) -> Tensor:
        """Return ``q``."""
        groups = Groups(sparse(x.detach(), self.sparsity), self.group)
        return groups.whole(self._codes(groups)[1])

    def step_size(self, x: Tensor) -> float:
        """Return the mean of ``s_f``."""
        groups = Groups(sparse(x.detach(), self.sparsity), self.group)
        return float(self._codes(groups)[0].mean())

    def _codes(self, groups: Groups) -> tuple[Tensor, Tensor]:
        """Return ``s_f [groups, 1]`` and ``q`` without gradients; pruned values have the code 0."""
        scale, q = self._rounded(groups)
        return scale, q if self.sparsity == "none" else torch.where(groups.values == 0, 0.0, q)

    def _rounded(self, groups: Groups) -> tuple[Tensor, Tensor]:
        x = groups.values
        if self.levels == "ternary":
            scale = groups.mean(x.abs()).clamp_min(SMALLEST)
            return scale, (x / scale).round().clamp(-1, 1)
        if self.bits == 1:
            middle = groups.mean(x) if self.affine else torch.zeros_like(x[:, :1])
            scale = (2 * groups.mean((x - middle).abs())).clamp_min(SMALLEST)
            up = (x >= middle).to(x.dtype)
            return scale, up if self.affine else up - 0.5
        if self.affine:
            low = groups.low()
            scale = ((groups.high() - low) / (2**self.bits - 1)).clamp_min(SMALLEST)
            return scale, ((x - low) / scale).round()
        scale = (groups.largest() / (2 ** (self.bits - 1) - 1)).clamp_min(SMALLEST)
        return scale, (x / scale).round()

    def extra_repr(self) -> str:
        """Text for ``repr``."""
        what = "ternary" if self.levels == "ternary" else f"{self.bits} bits"
        form = "affine" if self.affine else "linear"
        return f"{what}, {form}, ridge={self.ridge:g}, group={self.group}, {self.sparsity}"


class _Regression(torch.autograd.Function):
    """Regression ``x~`` for codes ``q = x / s_f + constant``, with a closed-form gradient.

        linear: S = sum_i G_i q_i,  B = mean(q^2) + ridge
                dx_j = (s G_j + S (x_j - 2 s q_j) / (N B)) / s_f + S q_j / (N B)
        affine: the same with centered q, x and G, V = Var(q) + ridge for B, plus mean G

    All tensors are ``[groups, members]``. Backward uses ``x``, the codes, and a few numbers per
    group.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, q: Tensor, scale: Tensor, groups: Groups, ridge: float, affine: bool
    ) -> Tensor:
        # Raw moments, so that the result is the only new tensor of this size.
        count = groups.count
        power, cross = _dot(q, q) / count, _dot(q, x) / count
        q_mean, x_mean = torch.zeros_like(scale), torch.zeros_like(scale)
        if affine:
            q_mean, x_mean = q.sum(1, keepdim=True) / count, x.sum(1, keepdim=True) / count
            power, cross = power - q_mean.square(), cross - q_mean * x_mean
        power = (power.clamp_min(0.0) + ridge).clamp_min(SMALLEST)
        slope = cross / power
        ctx.save_for_backward(x, q, scale, q_mean, x_mean, power, slope)
        ctx.groups, ctx.affine = groups, affine
        return torch.addcmul(x_mean - slope * q_mean, slope, q)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, q, scale, q_mean, x_mean, power, slope = ctx.saved_tensors
        groups: Groups = ctx.groups
        grad = groups.counted(grad)
        total = grad.sum(1, keepdim=True) if ctx.affine else torch.zeros_like(scale)
        mean = total / groups.count
        shared = (_dot(grad, q) - total * q_mean) / (groups.count * power)
        of_x, of_grad = shared / scale, slope / scale
        of_q = shared - 2 * slope * of_x
        rest = mean * (1 - of_grad) - x_mean * of_x - q_mean * of_q
        dx = torch.addcmul(rest, of_grad, grad).addcmul_(of_x, x).addcmul_(of_q, q)
        return dx, None, None, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of products over each group, ``[groups, 1]``."""
    sums: Tensor = torch.linalg.vecdot(a, b)
    return sums.unsqueeze(1)
