"""Nonlinear currents as sums of products, so that a column needs only a few matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, singledispatch

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.physics.draws import normal
from cimsim.profile import PolynomialIV, PooleFrenkelIV, SinhIV
from cimsim.seeds import seed_for

Shape = Callable[[Tensor], Tensor]
Terms = tuple[tuple[Shape, Tensor], ...]
_LOWEST_R = 0.05
_TOLERANCE = 1e-6
"""Relative error of a current, from the number of terms."""
_SMALLEST_INPUT = 1e-4
"""Share of full scale below which the barrier stays: the root has no slope at 0, and powers of a
smaller one would be slow, because they are subnormal."""


@singledispatch
def iv_terms(iv: object, g_uS: Tensor, seed: int = 0) -> Terms:
    """Return the terms of the current over ``v_read``: ``sum_k f_k(u) G_k``, ``u = V / v_read``.

    ``u`` is in [-1, 1]. Each ``G_k`` has the shape and unit (µS) of ``g_uS``; the first is the
    linear part. ``seed`` identifies the chip, whose cells differ in some laws.
    """
    raise NotImplementedError(f"no physics for current-voltage law {type(iv).__name__}")


@iv_terms.register
def _(iv: PolynomialIV, g_uS: Tensor, seed: int = 0) -> Terms:
    r, v = g_uS / iv.g_ref_uS, iv.v_read_V
    a2_uS = iv.strength * v * evaluate(iv.a2_uA_per_V2, r)
    a3_uS = iv.strength * v**2 * evaluate(iv.a3_uA_per_V3, r)
    return ((_linear, g_uS), (_signed_square, a2_uS), (_cube, a3_uS))


@iv_terms.register
def _(iv: SinhIV, g_uS: Tensor, seed: int = 0) -> Terms:
    kv = iv.k_per_V * iv.v_read_V
    bends = kv > 0 and iv.strength > 0
    return ((partial(_hopping, kv=kv, strength=iv.strength) if bends else _linear, g_uS),)


def common_shape(iv: PolynomialIV | SinhIV | PooleFrenkelIV) -> Shape | None:
    """Return ``f`` if the current over ``v_read`` is ``f(u) G`` for all cells, ``G`` being the
    conductance in µS; None if ``f`` differs between cells or their states."""
    if not iv.alike:
        return None
    ((shape, _),) = iv_terms(iv, torch.empty(0, device="cpu"))
    return shape


def _hopping(u: Tensor, kv: float, strength: float) -> Tensor:
    return u + strength * (torch.sinh(kv * u) / kv - u)


@iv_terms.register
def _(iv: PooleFrenkelIV, g_uS: Tensor, seed: int = 0) -> Terms:
    if iv.strength == 0:
        return ((_linear, g_uS),)
    conducting = g_uS > 0
    r = (g_uS / iv.g_ref_uS).clamp_min(_LOWEST_R)
    x = normal(g_uS, seed_for(seed, "iv", "prefactor"))
    other = normal(g_uS, seed_for(seed, "iv", "barrier"))
    y = iv.correlation * x + math.sqrt(1.0 - iv.correlation**2) * other
    spread = iv.spread_strength
    c_uS = iv.c_ref_uS * r**iv.c_exponent * torch.exp(spread * iv.sigma_ln_c * x)
    at_full = iv.beta_ref_per_sqrt_V * math.sqrt(iv.v_read_V)
    barrier = at_full * r**iv.beta_exponent * torch.exp(spread * iv.sigma_ln_beta * y)
    bent_uS = iv.strength * torch.where(conducting, c_uS, 0.0)
    return ((_linear, (1.0 - iv.strength) * g_uS), *_emission(bent_uS, barrier))


def _emission(c_uS: Tensor, barrier: Tensor) -> Terms:
    """Return the terms of ``c u exp(b sqrt|u|)``, where every cell has its own barrier ``b``.

    With m in the middle and h half of the range of all barriers, and ``b = m + h t``,

        exp(b s) = exp(m s) sum_k (h s)^k / k! t^k,    s = sqrt|u|

    After n terms the relative error is below ``exp(h) h^n / n!``.
    """
    if not barrier.numel():
        return ((_linear, c_uS),)
    low, high = (edge.item() for edge in barrier.detach().aminmax())
    middle, half = (low + high) / 2, (high - low) / 2
    powers = _Powers(middle)
    terms = [(partial(powers, power=0), c_uS)]
    error, t = math.exp(half) * half, (barrier - middle) / (half or 1.0)
    while error > _TOLERANCE:
        power = len(terms)
        c_uS = c_uS * (t * (half / power))
        terms.append((partial(powers, power=power), c_uS))
        error *= half / (power + 1)
    powers.count = len(terms)
    return tuple(terms)


class _Powers:
    """``u exp(m s) s^k``, ``s = sqrt|u|``; each power of an input is made from the one before.

    Nothing is kept after the last.
    """

    def __init__(self, middle: float) -> None:
        self.middle, self.count = middle, 1
        self._before: tuple[Tensor, int, Tensor, Tensor] | None = None
        """The input, its latest power k, that term, and the root."""

    def __call__(self, u: Tensor, power: int) -> Tensor:
        """The term of that power."""
        before = self._before
        if before is not None and before[0] is u and before[1] == power - 1:
            root = before[3]
            found = before[2] * root
        else:
            root = u.abs().clamp_min(_SMALLEST_INPUT).sqrt()
            found = u * torch.exp(self.middle * root)
            found = found * root**power if power else found
        self._before = None if power + 1 == self.count else (u, power, found, root)
        return found


def _linear(u: Tensor) -> Tensor:
    return u


def _signed_square(u: Tensor) -> Tensor:
    return u * u.abs()


def _cube(u: Tensor) -> Tensor:
    return u**3
