"""Nonlinear currents as sums of products, so that a column needs only a few matrix products."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.profile import PolynomialIV, SinhIV

Terms = tuple[tuple[Callable[[Tensor], Tensor], Tensor], ...]


@singledispatch
def iv_terms(iv: object, g_uS: Tensor) -> Terms:
    """Return the terms of the current over ``v_read``: ``sum_k f_k(u) G_k``, ``u = V / v_read``.

    ``u`` is in [-1, 1]. Each ``G_k`` has the shape and unit (µS) of ``g_uS``; the first is the
    linear part.
    """
    raise NotImplementedError(f"no physics for current-voltage law {type(iv).__name__}")


@iv_terms.register
def _(iv: PolynomialIV, g_uS: Tensor) -> Terms:
    r, v = g_uS / iv.g_ref_uS, iv.v_read_V
    a2_uS = iv.strength * v * evaluate(iv.a2_uA_per_V2, r)
    a3_uS = iv.strength * v**2 * evaluate(iv.a3_uA_per_V3, r)
    return ((_linear, g_uS), (_signed_square, a2_uS), (_cube, a3_uS))


@iv_terms.register
def _(iv: SinhIV, g_uS: Tensor) -> Terms:
    kv = iv.k_per_V * iv.v_read_V

    def hopping(u: Tensor) -> Tensor:
        if kv == 0 or iv.strength == 0:
            return u
        return u + iv.strength * (torch.sinh(kv * u) / kv - u)

    return ((hopping, g_uS),)


def _linear(u: Tensor) -> Tensor:
    return u


def _signed_square(u: Tensor) -> Tensor:
    return u * u.abs()


def _cube(u: Tensor) -> Tensor:
    return u**3
