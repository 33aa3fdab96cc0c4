"""Evaluation of a profile's curves on tensors."""

from __future__ import annotations

import math
from functools import singledispatch
from itertools import pairwise

import torch
from torch import Tensor

from cimsim.profile import (
    CappedPower,
    ClippedLog,
    LogPolynomial,
    Piecewise,
    Polynomial,
    Saturating,
    Table,
)

_R_FLOOR = 1e-7


@singledispatch
def evaluate(curve: object, r: Tensor) -> Tensor:
    """Return ``curve(r)`` elementwise for ``r >= 0``; differentiable in ``r``.

    Logarithms and powers use ``max(r, 1e-7)``.
    """
    raise NotImplementedError(f"no formula for curve {type(curve).__name__}")


@evaluate.register
def _(curve: ClippedLog, r: Tensor) -> Tensor:
    line = curve.slope * r.clamp_min(_R_FLOOR).log() + curve.intercept
    return line.clamp(curve.min, curve.max)


@evaluate.register
def _(curve: CappedPower, r: Tensor) -> Tensor:
    if curve.coefficient == 0 or curve.max == 0:
        return torch.zeros_like(r)
    # Capped before exponentiation: a steep power of a small r overflows, and so does its gradient.
    logarithm = curve.exponent * r.clamp_min(_R_FLOOR).log()
    return curve.coefficient * logarithm.clamp_max(math.log(curve.max / curve.coefficient)).exp()


@evaluate.register
def _(curve: Polynomial, r: Tensor) -> Tensor:
    return _horner(curve.coefficients, r)


@evaluate.register
def _(curve: LogPolynomial, r: Tensor) -> Tensor:
    return _horner(curve.coefficients, r.clamp_min(_R_FLOOR).log10())


@evaluate.register
def _(curve: Saturating, r: Tensor) -> Tensor:
    return -curve.amplitude * torch.expm1(r / -curve.scale)


@evaluate.register
def _(curve: Table, r: Tensor) -> Tensor:
    pairs = tuple(zip(curve.r, curve.values, strict=True))
    if len(pairs) == 1:
        return r.new_full((), curve.values[0]).expand_as(r)
    points, values = r.new_tensor(curve.r), r.new_tensor(curve.values)
    slopes = r.new_tensor([(v1 - v0) / (r1 - r0) for (r0, v0), (r1, v1) in pairwise(pairs)])
    right = torch.bucketize(r.detach().contiguous(), points, right=True).clamp(1, len(pairs) - 1)
    inside = r.clamp(curve.r[0], curve.r[-1])
    return values[right - 1] + slopes[right - 1] * (inside - points[right - 1])


@evaluate.register
def _(curve: Piecewise, r: Tensor) -> Tensor:
    return torch.where(r < curve.at, evaluate(curve.below, r), evaluate(curve.above, r))


def _horner(coefficients: tuple[float, ...], r: Tensor) -> Tensor:
    """Return ``sum_k c_k r^k``."""
    value = r.new_full((), coefficients[-1]).expand_as(r)
    for coefficient in reversed(coefficients[:-1]):
        value = value * r + coefficient
    return value
