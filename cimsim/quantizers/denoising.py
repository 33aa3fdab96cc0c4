"""Denoising dequantization: codes become numbers by ridge regression of the data on them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.errors import CimsimError
from cimsim.quantizers.quantizer import SMALLEST, Bits, Group, Groups, Quantizer, Ridge
from cimsim.quantizers.sparsity import Sparsity, sparse


class Denoising(Quantizer):
    """Quantize, then regress the original on the codes; autograd includes the error of the codes.

        f(x) = (x - b_f) / s_f  (affine)  or  x / s_f  (linear)
        q = f(x) + delta,  delta = round(f(x)) - f(x), a constant to the gradient
        affine: x~ = c (q - mean q) + mean x,   c = Cov(x, q) / (Var(q) + ridge)
        linear: x~ = s q,                       s = mean(x q) / (mean(q^2) + ridge)

    Mean, covariance and variance are over each group, computed from the data at every use and
    differentiated, also as the target of the regression. ``bits`` codes are 0 .. 2^bits - 1 over
    the group's range (affine; one bit splits at the mean) or symmetric around zero (linear);
    ``levels=ternary`` has the codes -1, 0, 1 in steps of the mean magnitude. With ``sparsity`` the
    codes of all but the largest magnitudes are zero, and gradients still reach the rest. ``s_f``
    and ``b_f`` are constants to the gradient; these ranges are our choice, as the
    paper does not give its own.

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
            raise CimsimError("sparsity needs codes around zero; leave out form=affine")

    def forward(self, x: Tensor) -> Tensor:
        """``x~``, in the shape of ``x``."""
        groups = Groups(x, self.group)
        pruned = Groups(sparse(x.detach(), self.sparsity), self.group)
        scale, q = self._codes(pruned)
        regressed: Tensor = _Regression.apply(  # type: ignore[no-untyped-call]
            groups.values, groups.counted(q), scale, groups, self.ridge, self.affine
        )
        return groups.whole(regressed)

    def codes(self, x: Tensor) -> Tensor:
        """``q``."""
        groups = Groups(sparse(x.detach(), self.sparsity), self.group)
        return groups.whole(self._codes(groups)[1])

    def step_size(self, x: Tensor) -> float:
        """Mean of ``s_f``."""
        groups = Groups(sparse(x.detach(), self.sparsity), self.group)
        return float(self._codes(groups)[0].mean())

    def _codes(self, groups: Groups) -> tuple[Tensor, Tensor]:
        """``s_f [groups, 1]`` and ``q``, as numbers; pruned members have the code 0."""
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
        """Settings for ``repr``."""
        what = "ternary" if self.levels == "ternary" else f"{self.bits} bits"
        form = "affine" if self.affine else "linear"
        return f"{what}, {form}, ridge={self.ridge:g}, group={self.group}, {self.sparsity}"


class _Regression(torch.autograd.Function):
    """``x~`` of codes ``q = x / s_f + constant``, with its gradient in closed form.

        linear: S = sum_i G_i q_i,  B = mean(q^2) + ridge
                dx_j = (s G_j + S (x_j - 2 s q_j) / (N B)) / s_f + S q_j / (N B)
        affine: the same with q, x and G minus their means, V = Var(q) + ridge for B, plus mean G

    All of shape ``[groups, members]``. Saved for backward: ``x``, the codes, three numbers a group.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, q: Tensor, scale: Tensor, groups: Groups, ridge: float, affine: bool
    ) -> Tensor:
        # By raw moments, so that only the result has the size of the tensor.
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
    """Sum of products over each group, ``[groups, 1]``."""
    sums: Tensor = torch.linalg.vecdot(a, b)
    return sums.unsqueeze(1)
